package worker

import "time"

// book is what a simulated job must not contradict, as far as it has come.
type book struct {
	steps  *ledger
	begun  map[[2]int]int // (step, generation) -> ranks
	leaves map[uint64]int // generation -> its last step: who began it knew of a planned end
	stops  map[uint64]int // the same of a stop
	origin *float32       // of the states that were finished with
}

func newBook() book {
	return book{steps: newLedger(), begun: map[[2]int]int{}, leaves: map[uint64]int{}, stops: map[uint64]int{}}
}

// whole checks that a seat's state is that of an undisturbed run after so many steps.
func (d *desk) whole(s *seat, steps int) {
	got, want := s.model.account(s.notes), d.want[steps]
	want.origin = got.origin
	if got != want {
		d.broken("seat %s after %d steps has %+v, want %+v", s.id, steps, got, want)
	}
}

// enters notes that a seat has all that its generation starts from.
func (d *desk) enters(s *seat, session *Session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s.dead {
		return
	}
	if session.StepsDone() < s.applied {
		d.broken("seat %s had applied %d steps, and begins generation %d with %d", s.id, s.applied, session.Generation(), session.StepsDone())
	}
	s.applied = session.StepsDone()
	d.whole(s, s.applied)
}

// begins notes that a seat begins a step, which it must not where it knows better.
func (d *desk) begins(s *seat, session *Session, step Step) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s.dead {
		return
	}
	g, now := session.Generation(), time.Now()
	key := [2]int{step.Number, int(g)}
	if d.book.begun[key]++; d.book.begun[key] > session.Size() {
		d.broken("step %d was begun by %d ranks in generation %d of %d", step.Number, d.book.begun[key], g, session.Size())
	}
	d.book.steps.tried[key] = append(d.book.steps.tried[key], step.Samples...)
	if d.book.steps.applied[step.Number] > 0 {
		d.seen.redone++
	}
	after := func(known map[uint64]int, what string) {
		if last, ok := known[g]; ok && step.Number > last {
			d.broken("seat %s begins step %d in generation %d: %s was known before step %d", s.id, step.Number, g, what, last)
		}
	}
	after(d.book.leaves, "its planned end")
	after(d.book.stops, "a stop")
	knows := func(known map[uint64]int) {
		if _, ok := known[g]; !ok {
			known[g] = step.Number
		}
	}
	if s.heard.ID > g && s.heardAt.Before(now) {
		if !s.heard.Planned || s.heard.ID != g+1 {
			d.broken("seat %s begins step %d in generation %d, and has heard of %d", s.id, step.Number, g, s.heard.ID)
		}
		knows(d.book.leaves)
	}
	if !s.toldAt.IsZero() && s.toldAt.Before(now) {
		knows(d.book.stops)
	}
}

// applies notes that a seat has applied a step.
func (d *desk) applies(s *seat, session *Session, step Step) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s.dead {
		return
	}
	key := [2]int{step.Number, int(session.Generation())}
	if d.book.begun[key] != session.Size() {
		d.broken("seat %s has applied step %d, which %d of %d ranks had begun", s.id, step.Number, d.book.begun[key], session.Size())
	}
	d.book.steps.applied[step.Number] = max(d.book.steps.applied[step.Number], key[1])
	s.applied = step.Number + 1
	d.whole(s, s.applied)
}

// finishes checks a state that a seat has finished with.
func (d *desk) finishes(s *seat) {
	d.seen.finished++
	d.whole(s, len(d.want)-1)
	origin := s.model.account(s.notes).origin
	if d.book.origin == nil {
		d.book.origin = &origin
	}
	if origin != *d.book.origin {
		d.broken("seat %s began with %g, another with %g", s.id, origin, *d.book.origin)
	}
}

// close checks what must hold of the whole run.
func (d *desk) close() {
	if d.gen.Done && !d.t.Failed() {
		d.book.steps.check(d.t, d.plan.sampler, 1)
	}
	if d.gen.ID != uint64(d.seen.generations) {
		d.broken("%d generations were committed, the newest is %d", d.seen.generations, d.gen.ID)
	}
}
