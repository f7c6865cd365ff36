package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// changeBound is how long a change of members may wait for an earlier one, and until members
// have heard of it.
const changeBound = 10 * time.Second

// errAlone is what a group of one says when it is to change.
var errAlone = errors.New("the group is this member alone: start it with a listener")

// Add adds a member that was started without members. It takes the state first, and counts
// for the majority from then on: one that can't be reached costs nothing. Only the leader
// can. Adding again what is there changes nothing, and goes on with what was left half done.
func (g *Group) Add(ctx context.Context, name, addr string) error {
	if g.alone != nil {
		return errAlone
	}
	if err := checkAddr(name, addr); err != nil {
		return err
	}
	term := g.terms.present()
	if term == nil {
		return ErrNotLeader
	}
	id, at := raft.ServerID(name), raft.ServerAddress(addr)
	for _, s := range g.raft.GetConfiguration().Configuration().Servers {
		switch {
		case s.ID == id && s.Address != at:
			return fmt.Errorf("member %q is at %s: a new one needs a name of its own", name, s.Address)
		case s.ID == id && s.Suffrage == raft.Voter:
			return nil
		}
	}
	if err := g.stream.try(ctx, addr); err != nil {
		return fmt.Errorf("member %q can't be reached: %w", name, err)
	}
	g.wire.setGone(id, false)
	index, err := g.change(ctx, func() raft.IndexFuture { return g.raft.AddNonvoter(id, at, 0, changeBound) })
	if err != nil {
		return err
	}
	if err := g.hold(ctx, term, id, index); err != nil {
		return fmt.Errorf("member %q has not taken the state: %w", name, err)
	}
	index, err = g.change(ctx, func() raft.IndexFuture { return g.raft.AddVoter(id, at, 0, changeBound) })
	if err != nil {
		return err
	}
	// A majority may be this member and the new one. If this one died now, the others could
	// not elect the new one, of which they don't know. So it waits for those that live.
	heard, cancel := context.WithTimeout(ctx, answer)
	defer cancel()
	for _, s := range g.raft.GetConfiguration().Configuration().Servers {
		if g.wire.answers(s.ID) {
			_ = g.hold(heard, term, s.ID, index) // else it has stopped living
		}
	}
	return nil
}

// hold waits until a member holds an entry, as long as this one leads.
func (g *Group) hold(ctx, term context.Context, id raft.ServerID, index uint64) error {
	ctx, cancel := context.WithTimeoutCause(ctx, changeBound, fmt.Errorf("%v have passed", changeBound))
	defer cancel()
	stop := context.AfterFunc(term, cancel)
	defer stop()
	if err := g.wire.hold(ctx, id, index); err != nil {
		if term.Err() != nil {
			err = context.Cause(term)
		}
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	return nil
}

// Remove removes a member, dead or alive; what is not there is removed already. Only the
// leader can, also itself: then another is elected.
func (g *Group) Remove(ctx context.Context, name string) error {
	if g.alone != nil {
		return errAlone
	}
	if g.terms.present() == nil {
		return ErrNotLeader
	}
	if _, ok := g.Members()[name]; !ok {
		return nil
	}
	_, err := g.change(ctx, func() raft.IndexFuture {
		g.wire.setGone(raft.ServerID(name), true)
		return g.raft.RemoveServer(raft.ServerID(name), 0, changeBound)
	})
	return err
}

// change changes the members, and returns the entry that did.
func (g *Group) change(ctx context.Context, begin func() raft.IndexFuture) (uint64, error) {
	var index uint64
	err := g.call(ctx, func() error {
		f := begin()
		err := f.Error()
		switch {
		case errors.Is(err, raft.ErrEnqueueTimeout):
			return fmt.Errorf("an earlier change of members takes more than %v: %w", changeBound, err)
		case err == nil:
			index = f.Index()
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	return index, nil
}

// Transfer hands leadership to another member that lives, and returns when this one leads no
// more. Only the leader can; where no other member takes over it goes on leading.
func (g *Group) Transfer(ctx context.Context) error {
	if g.alone != nil {
		return errAlone
	}
	if g.terms.present() == nil {
		return ErrNotLeader
	}
	return g.call(ctx, func() error {
		// Raft asks for entries to be sent until the other has all of them, and could not
		// give up while that waits for a heartbeat.
		g.wire.setPatient(false)
		defer func() { g.wire.setPatient(g.raft.State() == raft.Leader) }()
		err := errors.New("none answers")
		for _, s := range g.raft.GetConfiguration().Configuration().Servers {
			if ctx.Err() != nil || !g.wire.answers(s.ID) {
				continue
			}
			if err = g.raft.LeadershipTransferToServer(s.ID, s.Address).Error(); err == nil {
				return nil
			}
		}
		return fmt.Errorf("no member takes over: %w", err)
	})
}
