package launcher

import (
	"syscall"

	"github.com/gorun-ml/gorun/internal/control"
)

// mostAgain is how many failures without a step between end a job: what fails there does so
// each time, however many restarts are left.
const mostAgain = 3

// again counts failures at one step. Ranks that fail together count once.
type again struct {
	step  int    // steps done then
	times int    // failures since it was done
	gen   uint64 // newest generation of which a rank has failed
	tries int    // and of those that were in none, how often their slots had been started
}

// fails counts a rank that has failed, and returns how many have in a row.
func (a *again) fails(generation uint64, tries, steps int) int {
	if steps > a.step {
		*a = again{step: steps, gen: a.gen, tries: a.tries}
	}
	if a.times == 0 || generation > a.gen || generation == 0 && tries > a.tries {
		a.times++
	}
	a.gen = max(a.gen, generation)
	if generation == 0 {
		a.tries = max(a.tries, tries)
	}
	return a.times
}

// heard takes in a report: those of steps before a failure may come after it.
func (a *again) heard(generation uint64, step int) {
	if generation <= a.gen {
		a.step = max(a.step, step)
	}
}

// ownFault says whether a candidate that has ended did so by what it has done: not because
// somebody else killed it, or was lost.
func (c *candidate) ownFault() bool {
	switch {
	case c.failure != nil:
		return c.failure.Kind != control.KindLost
	case c.end.lost != "":
		return false
	case c.stalled != "" || c.end.starved:
		return true
	}
	switch c.end.signal {
	case 0, syscall.SIGABRT, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGILL, syscall.SIGSEGV, syscall.SIGSYS, syscall.SIGTRAP:
		return true
	}
	return false
}
