package launcher

import (
	"errors"
	"fmt"
	"reflect"
	"syscall"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/internal/rendezvous"
)

func TestRecordsHoldEvents(t *testing.T) {
	at := time.UnixMicro(1_700_000_000_123_456).UTC()
	for _, e := range []event{
		evStarted{"1.1", 7},
		evNotStarted{"1.1", errors.New("no such file")},
		evExited{"1.1", ending{status: 3}},
		evExited{"1.1", ending{status: 137, signal: syscall.SIGKILL}},
		evExited{"1.1", ending{status: 137, signal: syscall.SIGKILL, starved: true, limit: 200 << 20}},
		evDrained{"1.1", tail{lines: []string{"a", "b"}, panic: "panic: x"}},
		evRegistered{rendezvous.Member{ID: "1.1", Host: "h1", Addr: "10.0.0.1:5", Slot: 1, PID: 7}},
		evReported{reported(1, 2, 0, 5)},
		evFailed{control.Failure{Member: "1.1", Kind: control.KindData, Detail: "cut off"}},
		evFinished{control.Finish{Member: "1.1", Generation: 2, Step: 9, Summary: []string{"accuracy 97 %"}}},
		evSaved{control.Saved{Generation: 1, Step: 4, Path: "/x"}},
		evStranded{control.Stranded{Member: "1.1", Generation: 3}},
		evSaid{"1.1", "a line"},
		evHostLost{"h2", "it doesn't answer any more"},
		evSignal{signal: syscall.SIGTERM, relayed: true},
		evSignal{signal: syscall.SIGINT, by: "ann", now: true},
		evStalled{"1.1", "gave no sign of life", true},
		evSlow{slowness{Member: "1.1", Own: 40.5, Typical: 10, Steps: 50, Evict: true}},
		evResize{5, "ann"},
		evHostUp{"h9", "h9+aa", 4, control.AgentHello{Host: "h9", Slots: 4, Addr: "10.0.0.9"}},
		evDrain{host: "h2", by: "ann", undo: true},
		evBroken{errors.New("no space")},
		evTick{},
	} {
		r, err := decodeRecord(recordOf(e, at).encode())
		if err != nil {
			t.Fatalf("%#v: %v", e, err)
		}
		if got := r.event(); !reflect.DeepEqual(got, e) {
			t.Errorf("%#v comes back as %#v", e, got)
		}
		if !r.At.Equal(at) {
			t.Errorf("%#v comes back with the time %v, want %v", e, r.At, at)
		}
	}
	if _, err := decodeRecord([]byte("{")); err == nil {
		t.Error("half a record is read")
	}
}

func TestHistoryForgetsWhatLaterRecordsSay(t *testing.T) {
	report := func(rank, step int) record {
		r := reported(1, 2, rank, step)
		return recordOf(evReported{r}, time.UnixMicro(int64(step)))
	}
	saved := func(path string) record { return recordOf(evSaved{control.Saved{Path: path}}, time.UnixMicro(0)) }
	lost := recordOf(evHostLost{"h2", "x"}, time.UnixMicro(0))
	var h history
	for step := range 1000 {
		h.add(report(0, step), false)
		h.add(report(1, step), false)
		h.add(record{At: time.UnixMicro(1)}, false)
	}
	h.add(report(1, 1000), true) // which was the moment for something
	h.add(saved("a"), false)
	h.add(lost, true)
	for step := range 1000 {
		h.add(report(1, 1001+step), false)
	}
	h.add(record{At: time.UnixMicro(1)}, true)
	want := history{report(0, 999), report(1, 999), report(1, 1000), saved("a"), lost, report(1, 2000), {At: time.UnixMicro(1)}}
	for i, decided := range []bool{false, false, true, false, true, false, true} {
		want[i].decided = decided
	}
	if !reflect.DeepEqual(h, want) {
		t.Errorf("%d records are kept:\n%+v\nwant %d:\n%+v", len(h), h, len(want), want)
	}
	for i := range 3000 {
		h.add(recordOf(evSaid{"0.1", fmt.Sprint(i)}, time.UnixMicro(2)), true)
	}
	if n := len(want) + maxSaid; len(h) != n || h[len(want)].Said.Line != fmt.Sprint(3000-maxSaid) || !reflect.DeepEqual(h[:len(want)], want) {
		t.Errorf("%d records are kept, want %d of which the first line is the %dth", len(h), n, 3000-maxSaid)
	}
}
