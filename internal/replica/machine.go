package replica

import (
	"io"

	"github.com/hashicorp/raft"
)

// Machine is the state that the group keeps. Its methods are called one at a time, never by
// two goroutines at once. Given the same entries in the same order it must come to the same
// state on every member, so it looks at no clock and draws nothing at random.
type Machine interface {
	// Apply takes the next entry and returns what Propose returns. It must not wait for
	// anything, least of all for the group, and not change the entry.
	Apply(index uint64, entry []byte) any
	// Snapshot returns the state as bytes that nobody changes any more: 32 MiB at most.
	Snapshot() ([]byte, error)
	// Restore replaces the state by that of a snapshot, also of one from another member.
	Restore(snapshot []byte) error
}

// applier is a Machine as raft sees it.
type applier struct{ machine Machine }

func (a applier) Apply(l *raft.Log) any { return a.machine.Apply(l.Index, l.Data) }

func (a applier) Snapshot() (raft.FSMSnapshot, error) {
	state, err := a.machine.Snapshot()
	if err != nil {
		return nil, err
	}
	return taken(state), nil
}

func (a applier) Restore(r io.ReadCloser) error {
	state, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	return a.machine.Restore(state)
}

// taken is a state that is to be kept.
type taken []byte

func (t taken) Persist(s raft.SnapshotSink) error {
	if _, err := s.Write(t); err != nil {
		return err
	}
	return s.Close()
}

func (taken) Release() {}
