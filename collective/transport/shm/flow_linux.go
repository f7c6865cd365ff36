package shm

import (
	"time"

	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/collective/transport/tcp"
)

// Wait returns when something of w may move: lanes to neighbours, and those to other hosts.
func (m *Mesh) Wait(w *transport.Waiting) error {
	var near nearby
	near.find(w)
	switch {
	case near.n == 0:
		return m.inner.Wait(w)
	case near.n == 1 && len(w.Out)+len(w.In) == 1:
		return m.await(near.calls[0], near.waits[0])
	}
	near.occupy(true)
	defer near.occupy(false)
	switch {
	case m.ended.Load():
		return m.inner.Err()
	case near.over():
		return nil
	case near.n == len(w.Out)+len(w.In):
		return m.either(w, &near)
	}
	if again, err := m.inner.Again(w); again || err != nil {
		return err
	}
	return m.sleep(w, &near)
}

// either waits for several lanes to neighbours.
func (m *Mesh) either(w *transport.Waiting, near *nearby) error {
	var start time.Time
	for i := 1; m.idle(i, &start); i++ {
		switch {
		case near.over():
			return nil
		case m.ended.Load():
			return m.inner.Err()
		}
	}
	return m.sleep(w, near)
}

// sleep sleeps until something of w may move.
func (m *Mesh) sleep(w *transport.Waiting, near *nearby) error {
	bell, err := m.fabric.bells.get(near.lanes[0].number)
	if err != nil {
		return m.inner.Fail(err)
	}
	var gone *neighbour
	for i, wait := range near.waits[:near.n] {
		if gone == nil && m.gone(wait.from) {
			gone = wait.from
		}
		near.lanes[i].ours.bell.Store(uint64(bell.pull))
		wait.sleep.Store(atBell)
	}
	switch {
	case near.over():
		return nil
	case gone != nil:
		return m.departed(gone)
	case m.ended.Load():
		return m.inner.Err()
	}
	err = m.inner.Sleep(w, tcp.Bell{Descriptor: bell.hear, Limit: m.fabric.c.Nap})
	bell.hush()
	for _, wait := range near.waits[:near.n] {
		wait.sleep.CompareAndSwap(atBell, awake)
	}
	return err
}

// nearby is the lanes to neighbours among what somebody waits for.
type nearby struct {
	lanes [2 * transport.MaxFlows]*lane
	calls [2 * transport.MaxFlows]*call
	waits [2 * transport.MaxFlows]wait
	n     int
}

func (b *nearby) find(w *transport.Waiting) {
	for _, f := range w.Out {
		if l, ok := f.(*lane); ok {
			b.lanes[b.n], b.calls[b.n], b.waits[b.n] = l, &l.sending, l.forRoom()
			b.n++
		}
	}
	for _, f := range w.In {
		if l, ok := f.(*lane); ok {
			b.lanes[b.n], b.calls[b.n], b.waits[b.n] = l, &l.receiving, l.forData()
			b.n++
		}
	}
}

// occupy notes that the calls are, or are no longer, looking at shared memory.
func (b *nearby) occupy(busy bool) {
	for _, c := range b.calls[:b.n] {
		c.busy.Store(busy)
	}
}

// over says whether one of the waits is.
func (b *nearby) over() bool {
	for i := range b.waits[:b.n] {
		if b.waits[i].over() {
			return true
		}
	}
	return false
}
