package replica

import (
	"errors"
	"testing"
)

func BenchmarkPropose(b *testing.B) {
	entry := make([]byte, 256)
	three := func(b *testing.B) (propose func()) {
		n := newNetwork(b)
		n.direct = true
		members := startMembers(b, n, "a", "b", "c")
		first, _ := leader(b, members)
		return func() {
			lead := first
			for {
				_, err := lead.Propose(b.Context(), entry)
				if !errors.Is(err, ErrNotLeader) && !errors.Is(err, ErrLost) {
					if err != nil {
						b.Error(err)
					}
					return
				}
				lead, _ = leader(b, members) // the machine is so busy that another leads
			}
		}
	}
	b.Run("three", func(b *testing.B) {
		propose := three(b)
		for b.Loop() {
			propose()
		}
	})
	b.Run("three, 64 at once", func(b *testing.B) {
		propose := three(b)
		b.SetParallelism(32) // of 2 cores
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				propose()
			}
		})
	})
	b.Run("alone", func(b *testing.B) {
		g, err := Start(Config{Self: "a", Machine: newSequence()})
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = g.Close() }()
		for b.Loop() {
			if _, err := g.Propose(b.Context(), entry); err != nil {
				b.Fatal(err)
			}
		}
	})
}
