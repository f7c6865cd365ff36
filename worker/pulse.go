package worker

import (
	"sync/atomic"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
)

// activity is what the goroutine that trains is at, for those who may wait for it. Any
// goroutine may look.
type activity struct {
	began time.Time
	word  atomic.Int64 // nanoseconds since began, and the activity in the low bits
}

var activities = [...]control.Doing{control.Works, control.Waits, control.Saves}

const (
	works = iota
	waits
	saves
)

// set notes that something else begins, or the same again.
func (a *activity) set(what int) { a.word.Store(int64(time.Since(a.began))&^3 | int64(what)) }

// get is what it is, and for how long it has been so.
func (a *activity) get() (what control.Doing, since time.Duration) {
	w := a.word.Load()
	return activities[w&3], time.Since(a.began) - time.Duration(w&^3)
}

// pulse gives a sign of life now and then, until the process closes.
func (p *process) pulse(every time.Duration, tell func(control.Pulse) error) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			what, since := p.doing.get()
			_ = tell(control.Pulse{Member: p.self.ID, Generation: p.gen.Load(), Doing: what, ForMS: ms(since)}) // another follows
		case <-p.ended:
			return
		}
	}
}
