package launcher

import (
	"errors"
	"maps"
	"slices"
	"syscall"

	"github.com/gorun-ml/gorun/internal/control"
)

// fleet starts candidates where they belong: by this host's agent, or by another's.
type fleet struct {
	host   string // this one
	own    *agent
	agents *control.Agents   // nil where there are no other hosts
	at     map[string]string // agent by member; used by the supervisor's goroutine only, as known is
	known  map[string]string // agent by host, of hosts that have joined
}

// agent is the name of a host's agent.
func (f *fleet) agent(host string) string {
	if a, joined := f.known[host]; joined {
		return a
	}
	return host
}

func (f *fleet) use(host, agent string) {
	if f.known == nil {
		f.known = map[string]string{}
	}
	f.known[host] = agent
}

func (f *fleet) start(o order) (pid int, err error) {
	f.at[o.member] = f.agent(o.host)
	if o.host == f.host {
		return f.own.start(o)
	}
	f.agents.Order(f.agent(o.host), control.AgentOrder{Start: &control.StartOrder{
		Member: o.member, Rank: o.rank, Path: o.path, Digest: o.digest, Args: o.args, Env: o.env, Dir: o.dir, Files: o.files,
	}})
	return 0, nil // the agent tells
}

func (f *fleet) signal(member string, s syscall.Signal) {
	if host := f.at[member]; host != f.host {
		f.agents.Order(host, control.AgentOrder{Signal: &control.SignalOrder{Member: member, Signal: int(s)}})
		return
	}
	f.own.signal(member, s)
}

func (f *fleet) label(member string, rank int) {
	if host := f.at[member]; host != f.host {
		f.agents.Order(host, control.AgentOrder{Label: &control.LabelOrder{Member: member, Rank: rank}})
		return
	}
	f.own.label(member, rank)
}

func (f *fleet) end(host string) {
	if host != f.host && f.agents != nil {
		f.dismiss(f.agent(host))
	}
}

func (f *fleet) endAll() {
	for _, agent := range slices.Sorted(maps.Values(f.known)) {
		f.dismiss(agent)
	}
}

func (f *fleet) dismiss(agent string) { f.agents.Order(agent, control.AgentOrder{End: true}) }

// eventOf is what an agent's news mean to the supervisor; nil for what it isn't told.
func eventOf(n control.AgentNews) event {
	switch {
	case n.Started != nil:
		return evStarted{n.Started.Member, n.Started.PID}
	case n.NotStarted != nil:
		return evNotStarted{n.NotStarted.Member, errors.New(n.NotStarted.Error)}
	case n.Exited != nil:
		return evExited{n.Exited.Member, ending{status: n.Exited.Status, signal: syscall.Signal(n.Exited.Signal), starved: n.Exited.Starved, limit: n.Exited.Limit}}
	case n.Drained != nil:
		return evDrained{n.Drained.Member, tail{lines: n.Drained.Lines, panic: n.Drained.Panic}}
	case n.Hello != nil && n.Hello.Slots > 0:
		return evHostUp{n.Hello.Host, n.Host, n.Hello.Slots, *n.Hello}
	case n.Leaves:
		return evDrain{host: n.Host, by: "its agent was asked to end", leaves: true}
	case n.Signalled != 0:
		return evSignal{signal: syscall.Signal(n.Signalled), relayed: true}
	}
	return nil
}

// newsOf is eventOf's inverse, for what an agent's processes cause; nil for the rest.
func newsOf(e event) *control.AgentNews {
	switch e := e.(type) {
	case evStarted:
		return &control.AgentNews{Started: &control.AgentStarted{Member: e.member, PID: e.pid}}
	case evNotStarted:
		return &control.AgentNews{NotStarted: &control.AgentNotStarted{Member: e.member, Error: e.err.Error()}}
	case evExited:
		return &control.AgentNews{Exited: &control.AgentExited{Member: e.member, Status: e.end.status, Signal: int(e.end.signal), Starved: e.end.starved, Limit: e.end.limit}}
	case evDrained:
		return &control.AgentNews{Drained: &control.AgentDrained{Member: e.member, Lines: e.tail.lines, Panic: e.tail.panic}}
	case evDrain:
		return &control.AgentNews{Leaves: true}
	case evSignal:
		return &control.AgentNews{Signalled: int(e.signal)}
	}
	return nil
}
