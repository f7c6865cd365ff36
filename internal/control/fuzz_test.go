package control

import (
	"encoding/json"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/internal/rendezvous"
)

// FuzzHub gives arbitrary messages to a hub's handlers.
func FuzzHub(f *testing.F) {
	say, _ := json.Marshal(letter{From: "a", Seq: 1, Body: json.RawMessage(`{"member":"m","line":"x"}`)})
	for _, subject := range []string{subjectRegister, subjectReport, subjectFail, subjectFinish, subjectSaved, subjectSay, "up.", ""} {
		f.Add(subject, say)
		f.Add(subject, []byte(`{"from":"a","seq":18446744073709551615,"body":{"id":"m0","slot":3,"step":1e99}}`))
		f.Add(subject, []byte(`{"from":"a","body":null}`))
		f.Add(subject, []byte(strings.Repeat("[", 20000)))
	}
	f.Fuzz(func(t *testing.T, subject string, data []byte) {
		h := &Hub{handler: checker{t}, heard: make(heard)}
		if subject == subjectReport {
			if r, err := decode[Report](data); err == nil {
				h.handler.Reported(r)
			}
			return
		}
		l, err := decode[letter](data)
		if err != nil {
			return
		}
		_ = h.heard.once(l, func() error { return h.deliver(subject, l.Body) })
		_ = h.heard.once(l, func() error {
			t.Errorf("letter %d of %q is new twice", l.Seq, l.From)
			return nil
		})
	})
}

// checker is a handler that checks what reaches it.
type checker struct{ t *testing.T }

func (c checker) Registered(m rendezvous.Member) error {
	if m.ID == "" || m.Slot < 0 {
		c.t.Errorf("%+v was registered", m)
	}
	return nil
}

func (c checker) Reported(r Report) {
	if r.Loss != nil && (math.IsNaN(*r.Loss) || math.IsInf(*r.Loss, 0)) {
		c.t.Errorf("loss %v was reported", *r.Loss)
	}
}
func (checker) Failed(Failure) error      { return nil }
func (checker) Finished(Finish) error     { return nil }
func (checker) Saved(Saved) error         { return nil }
func (checker) Stranded(Stranded) error   { return nil }
func (checker) Pulsed(Pulse)              {}
func (checker) Said(string, string) error { return nil }

// FuzzReply reads arbitrary answers, as a worker would.
func FuzzReply(f *testing.F) {
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"code":"conflict","error":"x"}`))
	f.Add([]byte(`{"generation":{"id":3,"members":[{"id":"m0"}],"done":true}}`))
	f.Add([]byte(`{"id":1,"welcome":{"job":"7f3a","secret":[1,2]},"code":"over"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := decode[reply](data); err == nil && (r.err() == nil) != (r.Code == "") {
			t.Errorf("answer %s gives the error %v", data, r.err())
		}
		_, _ = decode[order](data)
		_, _ = decode[bareReply](data)
	})
}

// FuzzBare lets a stranger say anything to rank 0's port.
func FuzzBare(f *testing.F) {
	f.Add([]byte(`{"id":1,"op":"hello","body":{"rank":1,"size":2}}` + "\n" + `{"id":2,"op":"register","body":{"id":"r1","slot":1}}` + "\n"))
	f.Add([]byte(`{"op":"hello","body":{"rank":-1,"size":2}}` + "\n"))
	f.Add([]byte(`{"op":"hello","body":{"rank":1,"size":2}}` + "\n" + `{"op":"watch"}` + "\n" + `{"op":"finish"}` + "\n" + `{"op":"fail"}` + "\n"))
	f.Add([]byte("\n\n{}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := serveBare(t.Context(), 2, "127.0.0.1", 0)
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("tcp", s.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write(data)
		_ = c.Close()
		s.close()
	})
}

// FuzzEnv reads an environment that somebody has meddled with.
func FuzzEnv(f *testing.F) {
	f.Add("7f3a", "3", "100", "true")
	f.Add("", "x", "-1", "")
	f.Fuzz(func(t *testing.T, job, slot, every, resume string) {
		env := map[string]string{"GORUN_JOB": job, "GORUN_SLOT": slot, "GORUN_CHECKPOINT_EVERY": every, "GORUN_RESUME": resume}
		e, ok, err := ParseEnv(func(name string) (string, bool) { v, ok := env[name]; return v, ok })
		if !ok || e.Job != job {
			t.Errorf("job %q was read as %q (%v)", job, e.Job, err)
		}
	})
}

// What Environ writes, ParseEnv reads.
func TestEnvRoundTrip(t *testing.T) {
	want := Env{
		Job: "7f3a", Broker: "127.0.0.1:4222", Member: "2.1", Host: "h1", Slot: 2, Bind: "127.0.0.1", SecretFD: 3, Stall: 5 * time.Second,
		Checkpoint: Checkpointing{Dir: "/tmp/c", Every: 10, Keep: 3, Resume: true}, Guards: Guards{OnNaN: OnNaNSkip, VerifyEvery: 7},
		Rank: 2, LocalRank: 2, WorldSize: 4, LocalWorldSize: 4, MasterAddr: "127.0.0.1", MasterPort: 29500,
	}
	env := make(map[string]string)
	for _, pair := range want.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		env[name] = value
	}
	lookup := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	if got, ok, err := ParseEnv(lookup); !ok || err != nil || got != want {
		t.Errorf("read %+v (%v, %v), want %+v", got, ok, err, want)
	}
	env["GORUN_SLOT"] = "two"
	if _, ok, err := ParseEnv(lookup); !ok || err == nil || !strings.Contains(err.Error(), `GORUN_SLOT="two"`) {
		t.Errorf("a slot that is not a number: %v, %v", ok, err)
	}
	if _, ok, err := ParseEnv(func(string) (string, bool) { return "", false }); ok || err != nil {
		t.Errorf("without gorun: %v, %v", ok, err)
	}
}
