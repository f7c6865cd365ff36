package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// changeBound is how long a change of members may wait for an earlier one.
const changeBound = 10 * time.Second

// errAlone is what a group of one says when it is to change.
var errAlone = errors.New("the group is this member alone: start it with a listener")

// Add adds a member that was started without members. It is reached first, so that an
// address that is wrong doesn't cost the majority; then it counts as a member at once, and
// takes the state. Only the leader can. Adding what is there already changes nothing.
func (g *Group) Add(ctx context.Context, name, addr string) error {
	if g.alone != nil {
		return errAlone
	}
	if err := checkAddr(name, addr); err != nil {
		return err
	}
	if !g.terms.leads() {
		return ErrNotLeader
	}
	if there, ok := g.Members()[name]; ok {
		if there == addr {
			return nil
		}
		return fmt.Errorf("member %q is at %s: a new one needs a name of its own", name, there)
	}
	reach, cancel := context.WithTimeout(ctx, patient)
	defer cancel()
	c, err := g.stream.ends.Dial(reach, addr)
	if err != nil {
		return fmt.Errorf("member %q can't be reached: %w", name, err)
	}
	_ = c.NetConn().Close() // it has served its purpose
	return g.change(ctx, func() raft.IndexFuture {
		g.wire.setGone(raft.ServerID(name), false)
		return g.raft.AddVoter(raft.ServerID(name), raft.ServerAddress(addr), 0, changeBound)
	})
}

// Remove removes a member, dead or alive; what is not there is removed already. Only the
// leader can, also itself: then another is elected.
func (g *Group) Remove(ctx context.Context, name string) error {
	if g.alone != nil {
		return errAlone
	}
	if !g.terms.leads() {
		return ErrNotLeader
	}
	if _, ok := g.Members()[name]; !ok {
		return nil
	}
	return g.change(ctx, func() raft.IndexFuture {
		g.wire.setGone(raft.ServerID(name), true)
		return g.raft.RemoveServer(raft.ServerID(name), 0, changeBound)
	})
}

// change changes the members.
func (g *Group) change(ctx context.Context, begin func() raft.IndexFuture) error {
	return g.call(ctx, func() error {
		err := begin().Error()
		if errors.Is(err, raft.ErrEnqueueTimeout) {
			return fmt.Errorf("an earlier change of members takes more than %v: %w", changeBound, err)
		}
		return err
	})
}

// Transfer hands leadership to another member that lives, and returns when this one leads no
// more. Only the leader can; where no other member takes over it goes on leading.
func (g *Group) Transfer(ctx context.Context) error {
	if g.alone != nil {
		return errAlone
	}
	if !g.terms.leads() {
		return ErrNotLeader
	}
	return g.call(ctx, func() error {
		// Raft asks for entries to be sent until the other has all of them, and could not
		// give up while that waits for a heartbeat.
		g.wire.setPatient(false)
		defer func() { g.wire.setPatient(g.raft.State() == raft.Leader) }()
		err := errors.New("there is no other member")
		for _, s := range g.raft.GetConfiguration().Configuration().Servers {
			if s.ID == raft.ServerID(g.self) || ctx.Err() != nil {
				continue
			}
			if err = g.raft.LeadershipTransferToServer(s.ID, s.Address).Error(); err == nil {
				return nil
			}
		}
		return fmt.Errorf("no member takes over: %w", err)
	})
}
