package shm

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gorun-ml/gorun/collective/transport"
)

// call is one of the calls that can be under way at once: on a board, or on a lane in one
// direction.
type call struct {
	busy   atomic.Bool // it may look at shared memory
	asleep atomic.Pointer[flag]
	until  unix.Timespec
}

// wait is what a call waits for: that w, in from's memory, reaches target.
type wait struct {
	from   *neighbour
	w      *word
	sleep  *flag
	target uint64
	clock  bool // the lower half of w counts in a circle, the upper half is the generation
}

func (w *wait) over() bool { return reached(w.w.Load(), w.target, w.clock) }

func reached(now, target uint64, clock bool) bool {
	if clock {
		return now>>32 == target>>32 && int32(uint32(now)-uint32(target)) >= 0
	}
	return now >= target
}

const (
	glance = 64 // looks between looks at the time

	crowdedPauses = 10  // before letting others run
	crowdedYields = 200 // before sleeping
)

// idle spends a moment: the i-th since it makes sense to wait. It reports false when it is
// time to sleep.
func (m *Mesh) idle(i int, start *time.Time) bool {
	switch {
	case m.together: // in this process, whose threads may all be waiting
		runtime.Gosched()
		return i < crowdedYields
	case m.crowded:
		if i < crowdedPauses {
			pause()
			return true
		}
		yield()
		if i%glance == 0 {
			runtime.Gosched()
		}
		return i < crowdedPauses+crowdedYields
	}
	// No yielding: a rank that lets a stranger run is put behind it by the scheduler.
	pause()
	if i%glance != 0 {
		return true
	}
	if start.IsZero() {
		*start = time.Now()
		return true
	}
	if i%(16*glance) == 0 {
		runtime.Gosched()
	}
	return time.Since(*start) < m.fabric.c.Spin
}

// await waits.
func (m *Mesh) await(c *call, w wait) error {
	c.busy.Store(true)
	defer c.busy.Store(false)
	var start time.Time
	for i := 1; !w.over(); i++ {
		if m.ended.Load() {
			return m.inner.Err()
		}
		if m.idle(i, &start) {
			continue
		}
		gone := m.gone(w.from)
		w.sleep.Store(dozing)
		switch {
		case w.over():
			return nil
		case gone:
			return m.departed(w.from)
		}
		c.asleep.Store(w.sleep)
		if !m.ended.Load() && !m.gone(w.from) {
			c.until = unix.NsecToTimespec(int64(m.fabric.c.Nap))
			doze(w.sleep, &c.until)
		}
		c.asleep.Store(nil)
	}
	return nil
}

// gone says whether a neighbour has left in good order.
func (m *Mesh) gone(from *neighbour) bool { return from.head().left.Load() >= m.gen }

// departed is the error of a call that needs such a neighbour.
func (m *Mesh) departed(from *neighbour) error {
	return &transport.PeerError{Rank: from.Rank, Host: from.Host, Err: fmt.Errorf(
		"%w: it has left generation %d", transport.ErrLost, m.gen)}
}

// What a flag says: nobody sleeps, somebody does at the flag itself, or at the bell of a lane.
const (
	awake uint32 = iota
	dozing
	atBell
)

// notice wakes who sleeps until a word changes, which it has. A sleeper sets the flag, looks
// at the word once more, and sleeps while the flag is set: either it sees the change, or the
// flag is seen here, and then it is no longer set.
func notice(sleep *flag) {
	if sleep.Load() != awake && sleep.Swap(awake) == dozing {
		wake(sleep)
	}
}

// notice is the same where the sleeper may wait for other things too.
func (l *lane) notice(sleep *flag) {
	if sleep.Load() == awake {
		return
	}
	switch sleep.Swap(awake) {
	case dozing:
		wake(sleep)
	case atBell:
		l.peer.wakeAt(l.theirs)
	}
}

// rouse wakes this rank's own calls, which look whether the mesh has ended.
func (m *Mesh) rouse() {
	m.mu.Lock()
	calls := m.calls()
	m.mu.Unlock()
	m.fabric.bells.ring()
	for _, c := range calls {
		for f := c.asleep.Load(); f != nil; f = c.asleep.Load() {
			wake(f)
			runtime.Gosched() // it may need this thread's place to go on
		}
	}
}

// settle waits until no call looks at shared memory. The mesh has ended.
func (m *Mesh) settle() {
	m.mu.Lock()
	calls := m.calls()
	m.mu.Unlock()
	for _, c := range calls {
		for c.busy.Load() {
			runtime.Gosched()
		}
	}
}

// calls are all that may be under way.
func (m *Mesh) calls() []*call {
	var calls []*call
	for _, b := range m.boards {
		if b != nil {
			calls = append(calls, &b.call)
		}
	}
	for _, l := range m.lanes {
		calls = append(calls, &l.sending, &l.receiving)
	}
	return calls
}
