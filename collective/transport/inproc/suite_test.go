package inproc

import (
	"fmt"
	"testing"

	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/collective/transport/transporttest"
)

func TestSuite(t *testing.T) {
	open := func(t *testing.T, n int) []transport.Fabric {
		network := NewNetwork()
		var fabrics []transport.Fabric
		for i := range n {
			fabrics = append(fabrics, network.Fabric(fmt.Sprint("f", i)))
		}
		return fabrics
	}
	t.Run("hosts", func(t *testing.T) { transporttest.Run(t, open) })
	t.Run("one host", func(t *testing.T) { transporttest.RunNear(t, open) })
	t.Run("windows", func(t *testing.T) { transporttest.RunWindows(t, open) })
}
