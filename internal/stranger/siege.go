package stranger

import (
	"context"
	"crypto/rand"
	"io"
	"math/big"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	besiegers = 4                     // at each port, besides those that say nothing
	silent    = 100                   // of these
	sallies   = 20 * time.Millisecond // between two of one besieger
)

// Besiege sends strangers to ports of other processes until ctx ends, and returns how many
// connections they have made. The last of them are gone when it returns.
func Besiege(ctx context.Context, tcp, udp []string) (made int) {
	var n atomic.Int64
	var all sync.WaitGroup
	for _, addr := range tcp {
		all.Go(func() { n.Add(int64(sit(ctx, addr))) })
		for range besiegers {
			all.Go(func() { n.Add(int64(sally(ctx, "tcp", addr))) })
		}
	}
	for _, addr := range udp {
		for range besiegers {
			all.Go(func() { n.Add(int64(sally(ctx, "udp", addr))) })
		}
	}
	all.Wait()
	return int(n.Load())
}

// sit connects and says nothing. Who is sent away comes back.
func sit(ctx context.Context, addr string) (made int) {
	var there []net.Conn
	defer func() {
		for _, c := range there {
			_ = c.Close() // nothing was said
		}
	}()
	tick := time.NewTicker(sallies)
	defer tick.Stop()
	for ctx.Err() == nil {
		if len(there) == silent {
			_ = there[0].Close() // nothing was said
			there = there[1:]
		}
		if c, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
			there = append(there, c)
			made++
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	return made
}

// sally says nonsense, after what may look like the beginning of something, again and again.
func sally(ctx context.Context, network, addr string) (made int) {
	beginnings := [][]byte{nil, {22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}, []byte("gorun/1\n"), []byte("CONNECT {"), {244, 4}, []byte(`{"id":1,"op":"hello"`)}
	noise := make([]byte, 32<<10)
	tick := time.NewTicker(sallies)
	defer tick.Stop()
	for ctx.Err() == nil {
		if c, err := net.DialTimeout(network, addr, time.Second); err == nil {
			_, _ = rand.Read(noise) // never fails
			size, _ := rand.Int(rand.Reader, big.NewInt(int64(len(noise))))
			_ = c.SetDeadline(time.Now().Add(time.Second))
			_, _ = c.Write(append(append([]byte{}, beginnings[made%len(beginnings)]...), noise[:size.Int64()]...)) // it may be sent away
			if network == "tcp" {
				_ = c.SetReadDeadline(time.Now().Add(sallies))
				_, _ = io.Copy(io.Discard, c)
			}
			_ = c.Close() // all was said
			made++
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	return made
}
