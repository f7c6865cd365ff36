package launcher

import (
	"fmt"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/internal/rendezvous"
)

// candidate is one process that the job has started, as the supervisor sees it.
type candidate struct {
	member     string // unique in the job
	slot       int
	rank       int // in the newest generation that it is or was part of; its slot before
	host       string
	pid        int
	started    time.Time
	since      time.Time // of its last change of state
	registered bool
	record     rendezvous.Member // what it registered as
	generation uint64            // newest that it is part of
	stranded   uint64            // the generation in which it has lost its connections
	finished   uint64            // the generation it has sent a finish record for
	summary    []string
	released   bool             // the job has become smaller, and needs it no more
	failure    *control.Failure // its own word on why it ends
	step       int              // last reported
	exited     bool
	drained    bool
	end        ending
	tail       tail
	stalled    string    // why it is taken for hung
	killAt     time.Time // then
	slow       bool      // it works much longer than others, which has been told
	evicted    bool      // another is to take its place for that
	settles    time.Time // until when it isn't to be
	remedy     string    // what is done about its death, told once its last words are known
}

func (c *candidate) alive() bool { return !c.exited }

// slot is one place in the launch: a sequence of candidates, one at a time.
type slot struct {
	site     int  // number of its host
	retired  bool // the job has become smaller: nothing is started here
	current  *candidate
	started  int       // candidates so far
	failures int       // candidates that had to be replaced
	startAt  time.Time // when to start the next one; zero for no plan to
}

// memberID names the n-th candidate of a slot, from 1.
func memberID(slot, n int) string { return fmt.Sprintf("%d.%d", slot, n) }

// longestPause is the most that a slot's next candidate is waited with.
const longestPause = 10 * time.Second

// backOff is how long to wait before a slot's next candidate is started. The first death
// costs nothing, a program that keeps dying doesn't keep the machine busy. Failures count
// from the last candidate that lived for longer than the longest pause.
func backOff(failures int) time.Duration {
	if failures <= 1 {
		return 0
	}
	return min(100*time.Millisecond<<min(failures-2, 7), longestPause)
}

// state is what a sighting says of the candidate.
func (c *candidate) state() rendezvous.State {
	if c.exited || c.failure != nil {
		return rendezvous.Dead
	}
	return rendezvous.Registered
}
