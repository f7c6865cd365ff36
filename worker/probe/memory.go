package probe

import (
	"slices"
	"time"

	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/kernels"
)

// ticks is how often ranks tell each other that they have come.
const ticks = 160

// alone has one rank fold while all others rest.
func (p *prober) alone() error {
	if p.at != 0 {
		return nil
	}
	for i, bytes := range sizes[folding] {
		p.times[folding][i] = best(func() {
			kernels.Fold(kernels.Sum, kernels.Float32, p.recv[:bytes], p.send[:bytes])
		})
	}
	return nil
}

// memory has all ranks of a host copy, and tell each other something, at once.
func (p *prober) memory() error {
	longest := share(copying, len(sizes[copying])-1, len(p.host))
	var src, dst []byte
	if p.at >= 0 {
		src, dst = make([]byte, longest), make([]byte, longest)
		for at := 0; at < longest; at += 4096 { // untouched pages are all the same one
			src[at], dst[at] = 1, 1
		}
	}
	for _, kind := range []int{cached, copying} {
		if _, err := p.tree.barrier(0); err != nil {
			return err
		}
		for i := range sizes[kind] {
			if bytes := share(kind, i, len(p.host)); p.at >= 0 {
				p.times[kind][i] = best(func() { copy(dst[:bytes], src[:bytes]) })
			}
		}
	}
	if p.at < 0 || len(p.host) < 2 {
		return nil
	}
	var err error
	p.times[ticking][0], err = p.ticking()
	return err
}

// best is the seconds that f takes, the least of a few, the first aside.
func best(f func()) float64 {
	f()
	took := make([]float64, 2)
	for i := range took {
		start := time.Now()
		f()
		took[i] = time.Since(start).Seconds()
	}
	return slices.Min(took)
}

// ticking is the seconds until all ranks of the host know that all have come, 0 where they
// don't share memory.
func (p *prober) ticking() (float64, error) {
	w, ok := p.mesh.(transport.Window)
	if !ok {
		return 0, nil
	}
	sharing := w.Sharing()
	for _, r := range p.host {
		if !slices.Contains(sharing, r) {
			return 0, nil
		}
	}
	board, err := w.Board(boardLane)
	if err != nil {
		return 0, err
	}
	took, n := make([]float64, ticks), len(p.host)
	for i := range took {
		now, start := uint32(i+1), time.Now()
		board.Publish(now)
		for k := range n - 1 {
			if err := board.Await(p.host[(p.at+1+k)%n], now); err != nil {
				return 0, err
			}
		}
		took[i] = time.Since(start).Seconds()
	}
	return usual(took), nil
}
