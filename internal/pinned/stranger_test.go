package pinned

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/internal/stranger"
)

// Who holds the key is served at a listener that strangers attack.
func TestStrangers(t *testing.T) {
	ends := New(make([]byte, 32), "test/1")
	l := listen(t, ends, nil)
	member := func(addr string) error {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		c, err := ends.Dial(ctx, addr)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }() // all was said
		_ = c.SetDeadline(time.Now().Add(limit))
		if _, err := c.Write([]byte("hello")); err != nil {
			return err
		}
		_, err = io.ReadFull(c, make([]byte, 5))
		return err
	}
	stranger.Attack(t, stranger.Port{
		Addr: l.Addr().String(), Member: member, Patience: handshakeBound, Memory: 32 << 20,
		Openings: [][]byte{{22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}},
		Claims:   [][]byte{{22, 3, 1, 0xff, 0xff, 1, 0xff, 0xff, 0xff}, {22, 3, 1, 0x3f, 0xff, 1, 0xff, 0xff, 0xff}},
	})
}
