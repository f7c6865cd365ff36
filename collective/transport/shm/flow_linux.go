package shm

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/gorun-ml/gorun/collective/transport"
)

// Wait returns when out may take more or in may have more.
func (m *Mesh) Wait(out, in transport.Flow) error {
	to, toNear := out.(*lane)
	from, fromNear := in.(*lane)
	switch {
	case !toNear && !fromNear:
		return m.inner.Wait(out, in)
	case in == nil:
		return m.await(&to.sending, to.forRoom())
	case out == nil:
		return m.await(&from.receiving, from.forData())
	default:
		return m.either(to, from) // what goes far is no Flow
	}
}

// either waits for two lanes at once.
func (m *Mesh) either(to, from *lane) error {
	to.sending.busy.Store(true)
	defer to.sending.busy.Store(false)
	from.receiving.busy.Store(true)
	defer from.receiving.busy.Store(false)
	room, data := to.forRoom(), from.forData()
	var start time.Time
	for i := 1; !room.over() && !data.over(); i++ {
		if m.ended.Load() {
			return m.inner.Err()
		}
		if m.idle(i, &start) {
			continue
		}
		roomless, dataless := m.gone(to.peer), m.gone(from.peer)
		room.sleep.Store(1)
		data.sleep.Store(1)
		switch {
		case room.over() || data.over():
			return nil
		case dataless:
			return m.departed(from.peer)
		case roomless:
			return m.departed(to.peer)
		}
		to.sending.asleep.Store(room.sleep)
		from.receiving.asleep.Store(data.sleep)
		if !m.ended.Load() && !m.gone(to.peer) && !m.gone(from.peer) {
			from.receiving.dozeFor(room.sleep, data.sleep)
		}
		to.sending.asleep.Store(nil)
		from.receiving.asleep.Store(nil)
	}
	return nil
}

// blink is how long a call sleeps that should wait for something else too, but can't.
const blink = 50 * time.Microsecond

// dozeFor sleeps while two flags are set.
func (c *call) dozeFor(a, b *flag) {
	c.both = [2]waitv{
		{now: 1, at: uint64(uintptr(unsafe.Pointer(a))), flags: futexU32},
		{now: 1, at: uint64(uintptr(unsafe.Pointer(b))), flags: futexU32},
	}
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &c.until) == nil {
		c.until = unix.NsecToTimespec(c.until.Nano() + int64(napTime))
		if dozeFor(&c.both, &c.until) {
			return
		}
	}
	c.until = unix.NsecToTimespec(int64(blink))
	doze(b, &c.until)
}
