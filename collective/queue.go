package collective

import (
	"sync"
	"sync/atomic"

	"github.com/gorun-ml/gorun/kernels"
)

// Handle is an operation that was started and not waited for. It belongs to its lane: once
// Wait has returned, the lane uses it again.
type Handle struct {
	lane *Lane
	call call
	x    kernels.Vector
	err  error
	done chan struct{} // capacity 1
}

// Wait returns when the operation has ended, with its error. It is called once.
func (h *Handle) Wait() error {
	<-h.done
	err, l := h.err, h.lane
	*h = Handle{lane: l, done: h.done}
	l.queue.put(h)
	return err
}

// queue is a lane's operations that were started and have not ended, in order.
type queue struct {
	mu      sync.Mutex // held while an operation is put in
	tasks   chan *Handle
	open    bool // the goroutine runs
	closed  bool
	pending atomic.Int32 // started and not ended
	living  sync.WaitGroup

	idleMu sync.Mutex
	idle   sync.Cond // pending has become 0

	freeMu sync.Mutex
	free   []*Handle // waited for; as many as were ever in use at once
}

func (q *queue) init(length int) {
	q.tasks = make(chan *Handle, length)
	q.idle.L = &q.idleMu
}

// get returns a handle that is not in use.
func (q *queue) get(l *Lane) *Handle {
	q.freeMu.Lock()
	defer q.freeMu.Unlock()
	if last := len(q.free) - 1; last >= 0 {
		h := q.free[last]
		q.free = q.free[:last]
		return h
	}
	return &Handle{lane: l, done: make(chan struct{}, 1)}
}

func (q *queue) put(h *Handle) {
	q.freeMu.Lock()
	defer q.freeMu.Unlock()
	q.free = append(q.free, h)
}

// Start begins an all-reduce of x and returns at once, unless Options.Queue operations are
// waiting on this lane already. Operations of a lane run in the order in which they were
// started; blocking ones wait for those started before. x belongs to the lane until Wait
// has returned.
func (l *Lane) Start(x kernels.Vector, op kernels.Op) *Handle { return l.StartNamed("", x, op) }

// StartNamed is Start for an operation that errors name: bucket conv2.w.
func (l *Lane) StartNamed(name string, x kernels.Vector, op kernels.Op) *Handle {
	q := &l.queue
	h := q.get(l)
	h.x, h.call = x, call{kind: allReduce, typ: x.Type, op: op, size: len(x.Bytes), name: name}

	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		h.err = l.wrap(&h.call, h.call.tag(0, 0), fault{-1, errClosed})
		h.done <- struct{}{}
		return h
	}
	if !q.open {
		q.open = true
		q.living.Go(func() { l.work() })
	}
	q.pending.Add(1)
	q.tasks <- h
	return h
}

// work runs the queue's operations.
func (l *Lane) work() {
	q := &l.queue
	for h := range q.tasks {
		l.mu.Lock()
		h.err = l.allReduce(&h.call, h.x)
		l.mu.Unlock()
		if q.pending.Add(-1) == 0 {
			q.idleMu.Lock()
			q.idle.Broadcast()
			q.idleMu.Unlock()
		}
		h.done <- struct{}{}
	}
}

// drain waits until the operations that were started have ended.
func (q *queue) drain() {
	if q.pending.Load() == 0 {
		return
	}
	q.idleMu.Lock()
	defer q.idleMu.Unlock()
	for q.pending.Load() != 0 {
		q.idle.Wait()
	}
}

func (q *queue) close() {
	q.mu.Lock()
	if !q.closed {
		q.closed = true
		close(q.tasks)
	}
	q.mu.Unlock()
	q.living.Wait()
}
