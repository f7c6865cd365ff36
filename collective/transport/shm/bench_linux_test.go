package shm

import (
	"fmt"
	"testing"

	"github.com/gorun-ml/gorun/collective/transport"
)

// BenchmarkTick is an exchange of four bytes between two processes.
func BenchmarkTick(b *testing.B) {
	r := startRanks(b, 2, Config{Require: true})
	r.join(1, r.others[0])
	from := 1
	for b.Loop() {
		const rounds = 100_000
		r.others[0].say("tick 0 %d %d", from, rounds)
		if err := ticks(r.mesh, 0, 1, 0, from, rounds); err != nil {
			b.Fatal(err)
		}
		from += rounds
		r.others[0].done()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(from-1), "ns/tick")
}

// BenchmarkRing sends a frame to another process and back.
func BenchmarkRing(b *testing.B) {
	for _, size := range []int{4, 1 << 10, 8 << 10, 64 << 10, 1 << 20, 16 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			r := startRanks(b, 2, Config{Require: true})
			r.join(1, r.others[0])
			c, err := r.mesh.Conn(1, 5)
			if err != nil {
				b.Fatal(err)
			}
			p := make([]byte, size)
			rounds := max(20, min(100_000, 100<<20/size))
			n := 0
			for b.Loop() {
				r.others[0].say("echo 5 %d %d", size, rounds)
				for seq := range rounds {
					if err := c.Send(transport.Tag{Seq: uint32(seq)}, p); err != nil {
						b.Fatal(err)
					}
					if err := c.Recv(transport.Tag{Seq: uint32(seq)}, p, nil); err != nil {
						b.Fatal(err)
					}
				}
				n += rounds
				r.others[0].done()
			}
			one := float64(b.Elapsed().Nanoseconds()) / float64(2*n)
			b.ReportMetric(one, "ns/way")
			b.ReportMetric(float64(size)/one, "GB/s")
		})
	}
}

// BenchmarkBarrier has more and more processes wait for each other.
func BenchmarkBarrier(b *testing.B) {
	for _, n := range []int{2, 4, 8} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := startRanks(b, n, Config{Require: true})
			r.join(1, r.others...)
			from := 1
			for b.Loop() {
				const rounds = 5000
				for _, o := range r.others {
					o.say("barrier %d %d %d", n, from, rounds)
				}
				if err := barriers(r.mesh, 0, n, from, rounds); err != nil {
					b.Fatal(err)
				}
				for _, o := range r.others {
					o.done()
				}
				from += rounds
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(from-1), "ns/barrier")
		})
	}
}
