package bench

import (
	"context"
	"errors"
	"strconv"
	"sync"

	"github.com/gorun-ml/gorun/collective"
	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/collective/transport/inproc"
	"github.com/gorun-ml/gorun/topology"
)

// goroutines runs np ranks in this process.
func (o *Options) goroutines(ctx context.Context, np int, sizes []int) error {
	network := inproc.NewNetwork()
	peers := make([]transport.Peer, np)
	fabrics := make([]transport.Fabric, np)
	for r := range peers {
		fabrics[r] = network.Fabric(strconv.Itoa(r))
		peers[r] = transport.Peer{Rank: r, ID: strconv.Itoa(r), Host: "localhost", Addr: fabrics[r].Addr()}
	}
	errs := make([]error, np)
	var ranks sync.WaitGroup
	for r := range np {
		ranks.Go(func() {
			mesh, err := fabrics[r].Mesh(ctx, 1, r, peers)
			if err != nil {
				errs[r] = err
				return
			}
			c := collective.New(mesh, topology.World{Hosts: make([]int, np)}, r, collective.Options{Algorithm: o.Algorithm})
			errs[r] = (&benchmark{Options: o, comm: c, transport: InProcess}).all(sizes)
			errs[r] = errors.Join(errs[r], mesh.Close(errs[r]), c.Close())
		})
	}
	ranks.Wait()
	return errors.Join(errs...)
}
