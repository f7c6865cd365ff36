package control

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/nats-io/nats.go"
)

// reporter sends reports from a goroutine of its own, so that a training step never waits
// for a socket. Adding one allocates nothing.
type reporter struct {
	nc      *nats.Conn
	subject string
	queue   chan report
	done    chan struct{}
}

// maxReports is how many steps a sender may be behind, which a starved process soon is, until
// they are missing in the metrics.
const maxReports = 4096

// report is one entry of the queue: a Report, or where drained isn't nil a mark.
type report struct {
	Report
	drained chan<- struct{}
}

func newReporter(nc *nats.Conn, subject string) *reporter {
	return &reporter{nc: nc, subject: subject, queue: make(chan report, maxReports), done: make(chan struct{})}
}

// add queues r, or drops it where the queue is full.
func (p *reporter) add(r Report) {
	select {
	case p.queue <- report{Report: r}:
	default:
	}
}

// drain returns when all that was added before has been sent or dropped.
func (p *reporter) drain(ctx context.Context) error {
	drained := make(chan struct{})
	select {
	case p.queue <- report{drained: drained}:
	case <-p.done:
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case <-drained:
		return nil
	case <-p.done:
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// run sends until stop. It reuses its buffers.
func (p *reporter) run() {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	var r report
	for {
		select {
		case r = <-p.queue:
		case <-p.done:
			return
		}
		if r.drained != nil {
			close(r.drained)
			continue
		}
		text.Reset()
		if encoder.Encode(&r.Report) == nil {
			_ = p.nc.Publish(p.subject, text.Bytes()) // dropped while the broker is away
		}
	}
}

func (p *reporter) stop() { close(p.done) }
