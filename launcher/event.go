package launcher

import (
	"os"
	"syscall"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/internal/rendezvous"
)

// An event is something that happened to a job. The supervisor handles them one at a time.
type event interface{ isEvent() }

type (
	// evStarted: the agent has started a candidate.
	evStarted struct {
		member string
		pid    int
	}
	// evNotStarted: the agent could not start a candidate.
	evNotStarted struct {
		member string
		err    error
	}
	// evExited: a candidate's process has ended, and its process group with it.
	evExited struct {
		member string
		end    ending
	}
	// evDrained: all that a candidate has written has been read. It follows evExited.
	evDrained struct {
		member string
		tail   tail
	}
	evRegistered struct{ member rendezvous.Member }
	evReported   struct{ report control.Report }
	evFailed     struct{ failure control.Failure }
	evFinished   struct{ finish control.Finish }
	evSaved      struct{ saved control.Saved }
	evStranded   struct{ stranded control.Stranded }
	evSaid       struct{ member, line string }
	evPulsed     struct{ pulse control.Pulse }
	// evStalled: a rank hangs. One that is silent can't say where.
	evStalled struct {
		member string
		why    string
		silent bool
	}
	// evSlow: a rank keeps others waiting at each step, by working longer than they do.
	evSlow struct{ slowness }
	// evHostLost: a host doesn't answer any more, or its agent has ended.
	evHostLost struct{ host, why string }
	// evSignal: somebody wants the job to stop. One that was relayed from another host is
	// no second one: schedulers signal all processes of a job. Nor is one that was asked for
	// by gorun stop, which may ask again for want of an answer, and says so if it means it.
	evSignal struct {
		signal  syscall.Signal
		relayed bool
		by      string // who has asked for it by gorun stop; "" for nobody
		now     bool   // without waiting for ranks to end by themselves
	}
	// evHostUp: the agent of a host that was not used is ready, for so many ranks.
	evHostUp struct {
		host  string
		agent string // by which the agent goes
		slots int
		hello control.AgentHello
	}
	// evDrain: ranks are to leave a host, or may come back. One that leaves is about to go:
	// host is its agent's name then.
	evDrain struct {
		host   string
		by     string
		undo   bool
		leaves bool
	}
	// evResize: somebody wants another number of ranks, from now on.
	evResize struct {
		np int
		by string // who
	}
	// evBroken: the launcher itself cannot go on.
	evBroken struct{ err error }
	// evTick: a deadline may have passed.
	evTick struct{}
)

func (evStarted) isEvent()    {}
func (evNotStarted) isEvent() {}
func (evExited) isEvent()     {}
func (evDrained) isEvent()    {}
func (evRegistered) isEvent() {}
func (evReported) isEvent()   {}
func (evFailed) isEvent()     {}
func (evFinished) isEvent()   {}
func (evSaved) isEvent()      {}
func (evStranded) isEvent()   {}
func (evSaid) isEvent()       {}
func (evPulsed) isEvent()     {}
func (evStalled) isEvent()    {}
func (evSlow) isEvent()       {}
func (evHostLost) isEvent()   {}
func (evSignal) isEvent()     {}
func (evResize) isEvent()     {}
func (evHostUp) isEvent()     {}
func (evDrain) isEvent()      {}
func (evBroken) isEvent()     {}
func (evTick) isEvent()       {}

// asked says who wants the job to stop, and how.
func (e evSignal) asked() string {
	switch {
	case e.by != "" && e.now:
		return "gorun stop --now (" + e.by + ")"
	case e.by != "":
		return "gorun stop (" + e.by + ")"
	case e.relayed:
		return signalName(e.signal) + " to the job's processes on another host"
	}
	return signalName(e.signal) + " to gorun"
}

// An act is what the supervisor does about an event.
type act interface{ isAct() }

type (
	// actStart starts a candidate. Attempt counts how often a gang was started.
	actStart struct {
		member  string
		slot    int
		attempt int
		place   place
	}
	// actSignal sends a signal to a candidate's process group.
	actSignal struct {
		member string
		signal syscall.Signal
	}
	// actCommit makes a generation the current one.
	actCommit struct {
		prev uint64
		next rendezvous.Generation
	}
	// actCommand asks all ranks for something.
	actCommand struct{ command control.Command }
	// actLabel says which rank a candidate's output is to be shown as.
	actLabel struct {
		member string
		rank   int
	}
	// actEnd has the agent of a host that was lost end, should it be there still.
	actEnd struct{ host string }
	// actUse has a host reached by an agent from now on.
	actUse struct {
		host, agent string
		hello       control.AgentHello
	}
	// actDismiss has an agent end that is not used.
	actDismiss struct{ agent string }
	// actTrains tells that training goes on after an outage, with a step that was done.
	actTrains struct {
		step  int
		after time.Duration
	}
	// actNote tells people something.
	actNote struct{ line string }
)

func (actStart) isAct()   {}
func (actSignal) isAct()  {}
func (actCommit) isAct()  {}
func (actCommand) isAct() {}
func (actLabel) isAct()   {}
func (actEnd) isAct()     {}
func (actUse) isAct()     {}
func (actDismiss) isAct() {}
func (actTrains) isAct()  {}
func (actNote) isAct()    {}

// ending is how a process ended: with a status, by a signal, or with its host.
type ending struct {
	status int
	signal syscall.Signal // 0 for none
	lost   string         // why its host is gone

	starved bool  // it was killed for memory
	limit   int64 // then, the limit that holds in bytes; 0 for none
}

func endingOf(state *os.ProcessState) ending {
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return ending{status: 128 + int(ws.Signal()), signal: ws.Signal()}
	}
	return ending{status: state.ExitCode()}
}

// tail is the end of what a candidate wrote to its standard error.
type tail struct {
	lines []string
	panic string // the line that says why a Go program panicked, if it did
}
