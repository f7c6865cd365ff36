package replica

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// transport is raft's, but patient. Between tries to send entries to a member that can't be
// reached raft waits twice as long each time, up to 10 s, and doesn't look whether the
// member is back: a majority that needs it would stand still for as long. Here such a try
// waits for the next heartbeat that gets through (they are a quarter of a second apart, at
// most, when the member is back) and is repeated.
type transport struct {
	*raft.NetworkTransport

	mu      sync.Mutex
	patient bool                            // this member leads, and does not hand over
	ended   bool                            // for good
	gone    map[raft.ServerID]bool          // removed: nobody waits for them
	beat    map[raft.ServerID]chan struct{} // closed with the next heartbeat that gets through
	heard   map[raft.ServerID]time.Time     // when a member has last answered
	holds   map[raft.ServerID]uint64        // the newest entry that it has taken in this term
	waiting map[*holding]struct{}           // for members to take entries
	hurry   chan struct{}                   // closed when patience ends
}

func newTransport(t *raft.NetworkTransport) *transport {
	return &transport{
		NetworkTransport: t,
		gone:             map[raft.ServerID]bool{}, beat: map[raft.ServerID]chan struct{}{}, heard: map[raft.ServerID]time.Time{},
		holds: map[raft.ServerID]uint64{}, waiting: map[*holding]struct{}{},
		hurry: make(chan struct{}),
	}
}

// tries bounds how often in a row something is sent in vain to a member whose heartbeats get
// through, before raft hears of it.
const tries = 3

// AppendEntries sends entries, or a heartbeat, and waits for the answer.
func (t *transport) AppendEntries(id raft.ServerID, addr raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if args.PrevLogEntry == 0 && args.PrevLogTerm == 0 && args.LeaderCommitIndex == 0 && len(args.Entries) == 0 {
		err := t.NetworkTransport.AppendEntries(id, addr, args, resp)
		if err == nil {
			t.reached(id)
		}
		return err
	}
	err := t.insist(id, func() error {
		*resp = raft.AppendEntriesResponse{} // of what a broken connection has left
		return t.NetworkTransport.AppendEntries(id, addr, args, resp)
	})
	if err == nil && resp.Success {
		t.took(id, args.PrevLogEntry+uint64(len(args.Entries)))
	}
	return err
}

// InstallSnapshot sends a snapshot, and waits until it has been restored.
func (t *transport) InstallSnapshot(id raft.ServerID, addr raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	return t.insist(id, func() error {
		*resp = raft.InstallSnapshotResponse{}
		if s, ok := data.(io.Seeker); ok { // ours are
			if _, err := s.Seek(0, io.SeekStart); err != nil {
				return err
			}
		}
		return t.NetworkTransport.InstallSnapshot(id, addr, args, resp, data)
	})
}

// insist sends something, again after the next heartbeat where it failed.
func (t *transport) insist(id raft.ServerID, send func() error) error {
	err := send()
	for n := 1; err != nil && n < tries && t.wait(id); n++ {
		err = send()
	}
	return err
}

// wait waits for the next heartbeat to a member. It returns false when it is not worth
// waiting for it any longer.
func (t *transport) wait(id raft.ServerID) bool {
	t.mu.Lock()
	if !t.patient || t.gone[id] {
		t.mu.Unlock()
		return false
	}
	beat, hurry := t.beat[id], t.hurry
	if beat == nil {
		beat = make(chan struct{})
		t.beat[id] = beat
	}
	t.mu.Unlock()
	select {
	case <-beat:
		t.mu.Lock()
		defer t.mu.Unlock()
		return t.patient && !t.gone[id]
	case <-hurry:
		return false
	}
}

// reached wakes who waits for a member.
func (t *transport) reached(id raft.ServerID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heard[id] = time.Now()
	if beat := t.beat[id]; beat != nil {
		close(beat)
		delete(t.beat, id)
	}
}

// answers says whether a member has answered within the lease.
func (t *transport) answers(id raft.ServerID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	last, ok := t.heard[id]
	return ok && time.Since(last) < lease
}

// holding is a wait until a member holds an entry.
type holding struct {
	id    raft.ServerID
	index uint64
	done  chan struct{}
}

// hold waits until a member holds an entry, and so all before it.
func (t *transport) hold(ctx context.Context, id raft.ServerID, index uint64) error {
	h := &holding{id, index, make(chan struct{})}
	t.mu.Lock()
	if t.holds[id] >= index {
		close(h.done)
	} else {
		t.waiting[h] = struct{}{}
	}
	t.mu.Unlock()
	select {
	case <-h.done:
		return nil
	case <-ctx.Done():
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.waiting, h)
		return context.Cause(ctx)
	}
}

// took tells that a member has taken all entries up to one.
func (t *transport) took(id raft.ServerID, index uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heard[id] = time.Now()
	t.holds[id] = index
	for h := range t.waiting {
		if h.id == id && h.index <= index {
			close(h.done)
			delete(t.waiting, h)
		}
	}
}

// beginTerm begins patience, when this member begins to lead.
func (t *transport) beginTerm() {
	t.mu.Lock()
	clear(t.holds) // of another term; it comes anew with the next sign of life
	t.mu.Unlock()
	t.setPatient(true)
}

// setPatient begins or ends patience.
func (t *transport) setPatient(patient bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.patient == patient || t.ended {
		return
	}
	t.patient = patient
	if patient {
		t.hurry = make(chan struct{})
	} else {
		close(t.hurry)
	}
}

// endPatience ends it for good.
func (t *transport) endPatience() {
	t.setPatient(false)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
}

// setGone says whether a member is worth waiting for.
func (t *transport) setGone(id raft.ServerID, gone bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.gone[id] = gone
	if beat := t.beat[id]; gone && beat != nil {
		close(beat)
		delete(t.beat, id)
	}
}
