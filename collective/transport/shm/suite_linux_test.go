package shm

import (
	"testing"
	"time"

	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/collective/transport/tcp"
	"github.com/gorun-ml/gorun/collective/transport/transporttest"
)

// open returns a fabric on a tcp fabric of its own.
func open(t *testing.T, c Config) *Fabric {
	t.Helper()
	inner, err := tcp.Listen(tcp.Config{Job: "7f3a", Secret: [32]byte{1, 2, 3}, Version: "v1"})
	if err != nil {
		t.Fatal(err)
	}
	f, err := New(inner, c)
	if err != nil {
		inner.Close()
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func fabrics(c Config) transporttest.Make {
	return func(t *testing.T, n int) []transport.Fabric {
		var all []transport.Fabric
		for range n {
			all = append(all, open(t, c))
		}
		return all
	}
}

func TestSuite(t *testing.T) {
	t.Run("one host", func(t *testing.T) { transporttest.RunNear(t, fabrics(Config{Require: true})) })
	t.Run("small rings", func(t *testing.T) { transporttest.RunNear(t, fabrics(Config{Require: true, Ring: minRing})) })
	t.Run("hosts", func(t *testing.T) { transporttest.Run(t, fabrics(Config{Require: true})) })
	t.Run("windows", func(t *testing.T) { transporttest.RunWindows(t, fabrics(Config{Require: true})) })
	t.Run("flows", func(t *testing.T) { transporttest.RunFlows(t, fabrics(Config{Require: true})) })
	// Nobody looks by itself: who is not woken misses the test's end.
	t.Run("flows, soundly", func(t *testing.T) { transporttest.RunFlows(t, fabrics(Config{Require: true, Nap: time.Hour})) })
	t.Run("not sharing", func(t *testing.T) { transporttest.RunNear(t, fabrics(Config{Forbid: true})) })
}
