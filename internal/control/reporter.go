package control

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/nats-io/nats.go"
)

// reporter sends reports from a goroutine of its own, so that a training step never waits
// for a socket. Adding one allocates nothing.
//
// What has piled up goes in one message, and the next one when the hub has taken that. So a
// hub that is slower than all ranks together has at most a message of each before it, and
// what ranks and newcomers have to say beside that is soon heard.
type reporter struct {
	nc      *nats.Conn
	subject string
	queue   chan report
	life    context.Context // ends with stop
	end     context.CancelFunc
}

// maxReports is how many steps a sender may be behind, which a starved process soon is, until
// they are missing in the metrics.
const maxReports = 4096

const (
	// maxBatch is how many reports a message has at most, or bytes, whatever comes first.
	maxBatch      = 256
	maxBatchBytes = MaxMessage / 4
	// takenWithin bounds the wait until a message was taken: nobody may be there to say so.
	takenWithin = time.Second
)

// report is one entry of the queue: a Report, or where drained isn't nil a mark.
type report struct {
	Report
	drained chan<- struct{}
}

func newReporter(nc *nats.Conn, subject string) *reporter {
	p := &reporter{nc: nc, subject: subject, queue: make(chan report, maxReports)}
	p.life, p.end = context.WithCancel(context.Background())
	return p
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
	case <-p.life.Done():
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case <-drained:
		return nil
	case <-p.life.Done():
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// run sends until stop. It reuses its buffers.
func (p *reporter) run() {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	for {
		var r report
		select {
		case r = <-p.queue:
		case <-p.life.Done():
			return
		}
		text.Reset()
		for n := 1; r.drained == nil; n++ {
			_ = encoder.Encode(&r.Report) // fails on nothing that a step can say
			if n == maxBatch || text.Len() >= maxBatchBytes || len(p.queue) == 0 {
				break
			}
			r = <-p.queue // nobody else takes from it
		}
		if text.Len() > 0 {
			p.send(text.Bytes())
		}
		if r.drained != nil {
			close(r.drained)
		}
	}
}

// send returns when the hub has taken the reports. They are dropped while the broker is away.
func (p *reporter) send(text []byte) {
	ctx, cancel := context.WithTimeout(p.life, takenWithin)
	defer cancel()
	_, _ = p.nc.RequestWithContext(ctx, p.subject, text)
}

func (p *reporter) stop() { p.end() }
