package launcher

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/internal/rendezvous"
)

// record is an event, and when it happened, as the replicas of a job hold it: one of the
// pointers is set, or none where only time has passed.
type record struct {
	decided    bool               // in a history
	Seq        uint64             `json:"seq,omitempty"` // from 1, known once it is held
	At         time.Time          `json:"at"`
	Agent      *control.AgentNews `json:"agent,omitempty"`
	Registered *rendezvous.Member `json:"registered,omitempty"`
	Reported   *control.Report    `json:"reported,omitempty"`
	Failed     *control.Failure   `json:"failed,omitempty"`
	Finished   *control.Finish    `json:"finished,omitempty"`
	Saved      *control.Saved     `json:"saved,omitempty"`
	Stranded   *control.Stranded  `json:"stranded,omitempty"`
	Said       *said              `json:"said,omitempty"`
	HostLost   *hostLoss          `json:"host_lost,omitempty"`
	Stalled    *stallRecord       `json:"stalled,omitempty"`
	Slow       *slowness          `json:"slow,omitempty"`
	Signal     *signalRecord      `json:"signal,omitempty"`
	Resize     *resizeRecord      `json:"resize,omitempty"`
	HostUp     *hostUp            `json:"host_up,omitempty"`
	Drain      *drainRecord       `json:"drain,omitempty"`
	Broken     string             `json:"broken,omitempty"`
}

type said struct {
	Member string `json:"member"`
	Line   string `json:"line"`
}

type hostLoss struct {
	Host string `json:"host"`
	Why  string `json:"why"`
}

type stallRecord struct {
	Member string `json:"member"`
	Why    string `json:"why"`
	Silent bool   `json:"silent,omitempty"`
}

type hostUp struct {
	Host  string             `json:"host"`
	Agent string             `json:"agent"`
	Slots int                `json:"slots"`
	Hello control.AgentHello `json:"hello"`
}

type drainRecord struct {
	Host   string `json:"host"`
	By     string `json:"by"`
	Undo   bool   `json:"undo,omitempty"`
	Leaves bool   `json:"leaves,omitempty"`
}

type resizeRecord struct {
	Ranks int    `json:"ranks"`
	By    string `json:"by"`
}

type signalRecord struct {
	Signal  int    `json:"signal"`
	Relayed bool   `json:"relayed,omitempty"`
	By      string `json:"by,omitempty"`
	Now     bool   `json:"now,omitempty"`
}

// recordOf is an event as replicas hold it.
func recordOf(e event, at time.Time) record {
	r := record{At: at}
	switch e := e.(type) {
	case evRegistered:
		r.Registered = &e.member
	case evReported:
		r.Reported = &e.report
	case evFailed:
		r.Failed = &e.failure
	case evFinished:
		r.Finished = &e.finish
	case evSaved:
		r.Saved = &e.saved
	case evStranded:
		r.Stranded = &e.stranded
	case evSaid:
		r.Said = &said{e.member, e.line}
	case evHostLost:
		r.HostLost = &hostLoss{e.host, e.why}
	case evStalled:
		r.Stalled = &stallRecord{e.member, e.why, e.silent}
	case evSlow:
		r.Slow = &e.slowness
	case evSignal:
		r.Signal = &signalRecord{int(e.signal), e.relayed, e.by, e.now}
	case evResize:
		r.Resize = &resizeRecord{e.np, e.by}
	case evHostUp:
		r.HostUp = &hostUp{e.host, e.agent, e.slots, e.hello}
	case evDrain:
		r.Drain = &drainRecord{e.host, e.by, e.undo, e.leaves}
	case evBroken:
		r.Broken = e.err.Error()
	case evTick:
	default:
		r.Agent = newsOf(e)
	}
	return r
}

// event is recordOf's inverse.
func (r record) event() event {
	switch {
	case r.Agent != nil:
		return eventOf(*r.Agent)
	case r.Registered != nil:
		return evRegistered{*r.Registered}
	case r.Reported != nil:
		return evReported{*r.Reported}
	case r.Failed != nil:
		return evFailed{*r.Failed}
	case r.Finished != nil:
		return evFinished{*r.Finished}
	case r.Saved != nil:
		return evSaved{*r.Saved}
	case r.Stranded != nil:
		return evStranded{*r.Stranded}
	case r.Said != nil:
		return evSaid{r.Said.Member, r.Said.Line}
	case r.HostLost != nil:
		return evHostLost{r.HostLost.Host, r.HostLost.Why}
	case r.Stalled != nil:
		return evStalled{r.Stalled.Member, r.Stalled.Why, r.Stalled.Silent}
	case r.Slow != nil:
		return evSlow{*r.Slow}
	case r.Signal != nil:
		return evSignal{syscall.Signal(r.Signal.Signal), r.Signal.Relayed, r.Signal.By, r.Signal.Now}
	case r.Resize != nil:
		return evResize{r.Resize.Ranks, r.Resize.By}
	case r.HostUp != nil:
		return evHostUp{r.HostUp.Host, r.HostUp.Agent, r.HostUp.Slots, r.HostUp.Hello}
	case r.Drain != nil:
		return evDrain{r.Drain.Host, r.Drain.By, r.Drain.Undo, r.Drain.Leaves}
	case r.Broken != "":
		return evBroken{errors.New(r.Broken)}
	}
	return evTick{}
}

func (r record) encode() []byte {
	data, err := json.Marshal(r)
	if err != nil {
		panic("launcher: record: " + err.Error()) // words and numbers
	}
	return data
}

func decodeRecord(data []byte) (r record, err error) {
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("record of an event: %w", err)
	}
	return r, nil
}

// history is all that a job was told, so that who reads it from the start knows what who was
// told knows. Of reports between two decisions it keeps the last, and of what
// is only told to people the newest: a job that runs for weeks has a short one.
type history []record

// add takes in a record, on which something was decided or not.
func (h *history) add(r record, decided bool) {
	r.decided = decided
	switch {
	case r.event() == event(evTick{}) && !decided:
		return // time has passed, as the next record says too
	case r.Said != nil:
		h.forget(func(o record) bool { return o.Said != nil }, maxSaid)
	case r.Saved != nil:
		h.forget(func(o record) bool { return o.Saved != nil }, storyEvents)
	}
	if r.idle() {
		for i := len(*h) - 1; i >= 0 && (*h)[i].idle(); i-- {
			if r.voids((*h)[i]) {
				*h = append((*h)[:i], (*h)[i+1:]...)
				break
			}
		}
	}
	*h = append(*h, r)
}

// maxSaid is how many lines of workers are remembered: nothing follows from them.
const maxSaid = 1024

// forget leaves out the oldest records of a kind that are more than most.
func (h *history) forget(kind func(record) bool, most int) {
	n := 0
	for _, r := range *h {
		if kind(r) {
			n++
		}
	}
	if n < most {
		return
	}
	*h = slices.DeleteFunc(*h, func(r record) bool {
		if kind(r) && n >= most {
			n--
			return true
		}
		return false
	})
}

// idle says whether nothing was decided on this record.
func (r record) idle() bool { return r.Reported != nil && !r.decided }

// voids says whether nothing is known from another, earlier record that isn't from this one.
func (r record) voids(o record) bool {
	return o.Reported != nil && o.Reported.Member == r.Reported.Member && o.Reported.Step <= r.Reported.Step && o.Reported.Epoch <= r.Reported.Epoch
}
