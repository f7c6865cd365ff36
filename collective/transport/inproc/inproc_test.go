package inproc

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/gorun-ml/gorun/collective/transport"
)

// A rank that waits for a frame blocks durably, so a test's clock may run.
func TestWaitsInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := NewNetwork()
		var peers []transport.Peer
		for rank := range 2 {
			peers = append(peers, transport.Peer{Rank: rank, Host: "h", Addr: fmt.Sprint(rank)})
		}
		var ranks sync.WaitGroup
		for rank := range 2 {
			f := network.Fabric(fmt.Sprint(rank))
			ranks.Go(func() {
				m, err := f.Mesh(t.Context(), 1, rank, peers)
				if err != nil {
					t.Error(err)
					return
				}
				c, err := m.Conn(1-rank, 0)
				if err != nil {
					t.Error(err)
					return
				}
				large := bytes.Repeat([]byte{7}, transport.EagerBytes+1)
				if rank == 0 {
					err = c.Send(transport.Tag{}, large)
				} else {
					got := make([]byte, len(large))
					err = c.Recv(transport.Tag{}, got, nil)
					if !bytes.Equal(got, large) {
						t.Error("another frame arrived than was sent")
					}
					synctest.Wait()
				}
				if err != nil {
					t.Error(err)
				}
				m.Close(nil)
			})
		}
		ranks.Wait()
	})
}
