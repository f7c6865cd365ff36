package probe

import (
	"slices"
	"time"
)

// How often something is done.
const (
	pings   = 24 // round trips of small messages
	repeats = 4  // of long ones, and of what all do at once
	stream  = 48 // small messages one way
	small   = 8 << 10
)

// toAndFro times round trips of the sizes from lo to hi of a kind.
func (p *prober) toAndFro(kind, lo, hi, peer int, leads bool) error {
	for i, bytes := range sizes[kind][lo:hi] {
		n := pings
		if bytes > small {
			n = repeats
		}
		if kind >= remote { // slower, and several pairs
			n /= 2
		}
		var err error
		if p.times[kind][lo+i], err = p.ping(peer, leads, bytes, n); err != nil {
			return err
		}
	}
	return nil
}

// ping is half the time of a round trip of as many bytes, of n.
func (p *prober) ping(peer int, leads bool, bytes, n int) (float64, error) {
	c, err := p.mesh.Conn(peer, lane)
	if err != nil {
		return 0, err
	}
	t, took := tag(stepPing, bytes), make([]float64, n)
	for i := range took {
		start := time.Now()
		if leads {
			err = p.exchange(c, nil, t, p.send[:bytes], nil)
		}
		if err == nil {
			err = p.exchange(nil, c, t, nil, p.recv[:bytes])
		}
		if err == nil && !leads {
			err = p.exchange(c, nil, t, p.send[:bytes], nil)
		}
		if err != nil {
			return 0, err
		}
		took[i] = time.Since(start).Seconds() / 2
	}
	if !leads {
		return 0, nil // it has waited for the other to begin
	}
	return usual(took), nil
}

// stream is the time between two small messages of many, one way.
func (p *prober) stream(peer int, leads bool) (float64, error) {
	c, err := p.mesh.Conn(peer, lane)
	if err != nil {
		return 0, err
	}
	t, took := tag(stepPing, few), make([]float64, repeats)
	for i := range took {
		start := time.Now()
		for range stream {
			if leads {
				err = p.exchange(c, nil, t, p.send[:few], nil)
			} else {
				err = p.exchange(nil, c, t, nil, p.recv[:few])
			}
			if err != nil {
				return 0, err
			}
		}
		if leads {
			err = p.exchange(nil, c, t, nil, p.recv[:few])
		} else {
			err = p.exchange(c, nil, t, p.send[:few], nil)
		}
		if err != nil {
			return 0, err
		}
		took[i] = time.Since(start).Seconds() / stream
	}
	if !leads {
		return 0, nil
	}
	return slices.Min(took), nil
}

// around is how long a message to one rank and one from another take, both at once.
func (p *prober) around(to, from, bytes int) (float64, error) {
	out, err := p.mesh.Conn(to, lane)
	if err != nil {
		return 0, err
	}
	in, err := p.mesh.Conn(from, lane)
	if err != nil {
		return 0, err
	}
	took := make([]float64, 1+repeats/2)
	for i := range took {
		start := time.Now()
		if err := p.exchange(out, in, tag(stepPing, bytes), p.send[:bytes], p.recv[:bytes]); err != nil {
			return 0, err
		}
		took[i] = time.Since(start).Seconds()
	}
	return usual(took[1:]), nil // the first connects, and waits for who comes late
}

// usual is what something takes that is seldom disturbed: the lower quartile.
func usual(x []float64) float64 {
	slices.Sort(x)
	return x[len(x)/4]
}
