package collective_test

import (
	"testing"

	"github.com/gorun-ml/gorun/collective/collectivetest"
	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/collective/transport/shm"
	"github.com/gorun-ml/gorun/collective/transport/tcp"
	"github.com/gorun-ml/gorun/topology"
)

// memory is ranks that share memory, as separate processes would.
func memory() collectivetest.Setup {
	return collectivetest.Setup{Fabric: func(int) (transport.Fabric, error) {
		inner, err := tcp.Listen(tcp.Config{Job: "test", Version: "test"})
		if err != nil {
			return nil, err
		}
		return shm.New(inner, shm.Config{Require: true})
	}}
}

// twoHosts is the same on two hosts, with sockets between them.
func twoHosts() collectivetest.Setup {
	s := memory()
	s.World = func(n int) topology.World { return topology.Uniform(n, 2) }
	return s
}

func TestOverSharedMemory(t *testing.T) {
	t.Run("operations", func(t *testing.T) { testOperations(t, memory(), 5) })
	t.Run("algorithms", func(t *testing.T) { testAlgorithms(t, memory(), 4, 100_003) })
	t.Run("equal", func(t *testing.T) { testEqual(t, memory(), 5) })
	t.Run("mismatch", func(t *testing.T) { testMismatch(t, memory(), []int{2, 4}) })
	t.Run("shared", func(t *testing.T) { testShared(t, memory(), 4, 1) })
}

func TestOverTwoHosts(t *testing.T) {
	t.Run("operations", func(t *testing.T) { testOperations(t, twoHosts(), 5) })
	t.Run("algorithms", func(t *testing.T) { testAlgorithms(t, twoHosts(), 3, 50_003) })
	t.Run("equal", func(t *testing.T) { testEqual(t, twoHosts(), 4) })
	t.Run("mismatch", func(t *testing.T) { testMismatch(t, twoHosts(), []int{4}) })
}
