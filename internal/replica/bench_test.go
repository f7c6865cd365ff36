package replica

import (
	"errors"
	"testing"
)

func BenchmarkPropose(b *testing.B) {
	entry := make([]byte, 256)
	three := func(b *testing.B) *member {
		n := newNetwork(b)
		n.direct = true
		lead, _ := leader(b, startMembers(b, n, "a", "b", "c"))
		return lead
	}
	b.Run("three", func(b *testing.B) {
		lead := three(b)
		for b.Loop() {
			if _, err := lead.Propose(b.Context(), entry); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("three, 64 at once", func(b *testing.B) {
		lead := three(b)
		b.SetParallelism(32) // of 2 cores
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				if _, err := lead.Propose(b.Context(), entry); err != nil && !errors.Is(err, ErrClosed) {
					b.Error(err)
					return
				}
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
