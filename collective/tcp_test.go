package collective_test

import (
	"fmt"
	"testing"

	"github.com/gorun-ml/gorun/collective"
	"github.com/gorun-ml/gorun/collective/collectivetest"
	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/collective/transport/tcp"
	"github.com/gorun-ml/gorun/kernels"
)

// loopback is ranks that talk through sockets.
func loopback() collectivetest.Setup { return sockets(tcp.Config{Job: "test", Version: "test"}) }

// encrypted is ranks that talk through sockets in secret.
func encrypted() collectivetest.Setup {
	return sockets(tcp.Config{Job: "test", Version: "test", Encrypt: true})
}

func sockets(c tcp.Config) collectivetest.Setup {
	return collectivetest.Setup{Fabric: func(int) (transport.Fabric, error) { return tcp.Listen(c) }}
}

func TestOverTCP(t *testing.T) {
	t.Run("operations", func(t *testing.T) { testOperations(t, loopback(), 5) })
	t.Run("algorithms", func(t *testing.T) { testAlgorithms(t, loopback(), 5, 300_007) })
	t.Run("equal", func(t *testing.T) { testEqual(t, loopback(), 5) })
	t.Run("mismatch", func(t *testing.T) { testMismatch(t, loopback(), []int{2, 4}) })
}

func TestOverEncryptedTCP(t *testing.T) {
	t.Run("operations", func(t *testing.T) { testOperations(t, encrypted(), 4) })
	t.Run("algorithms", func(t *testing.T) { testAlgorithms(t, encrypted(), 4, 100_007) })
	t.Run("mismatch", func(t *testing.T) { testMismatch(t, encrypted(), []int{2, 4}) })
}

func BenchmarkAllReduce(b *testing.B) {
	for _, n := range []int{2, 4} {
		for _, bytes := range []int{4, 1 << 10, 8 << 10, 64 << 10, 256 << 10, 1 << 20, 16 << 20} {
			b.Run(fmt.Sprintf("np=%d/bytes=%d", n, bytes), func(b *testing.B) {
				benchmark(b, loopback(), n, bytes)
			})
		}
	}
}

// benchmark times all-reduces of float32 sums; rank 0 keeps the time.
func benchmark(b *testing.B, setup collectivetest.Setup, n, bytes int) {
	setup.Run(b, n, func(t testing.TB, rank int, c *collective.Comm) {
		x := kernels.Of(make([]float32, bytes/4))
		// The first makes the connections.
		for range 3 {
			if err := c.AllReduce(x, kernels.Sum); err != nil {
				t.Fatal(err)
			}
		}
		if rank == 0 {
			b.SetBytes(int64(bytes))
			b.ReportAllocs()
			b.ResetTimer()
		}
		for range b.N {
			if err := c.AllReduce(x, kernels.Sum); err != nil {
				t.Fatal(err)
			}
		}
	})
}
