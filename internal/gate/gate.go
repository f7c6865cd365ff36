// Package gate bounds how many strangers a listener listens to.
package gate

import (
	"net"
	"slices"
	"sync"
)

// Gate counts who has come. One stranger too many turns out the one that has been there for
// longest: a member needs a few milliseconds to prove itself, so that a crowd of silent ones
// can't keep it out. The fields are set before use.
type Gate struct {
	Strangers int // connections that have not proved anything yet
	Members   int // connections that have; 0 for any number

	mu      sync.Mutex
	waiting []net.Conn // in the order of their coming
	members int
}

// Enter lets a stranger in.
func (g *Gate) Enter(c net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) == g.Strangers {
		_ = g.waiting[0].Close() // who reads from it notices
		g.waiting = slices.Delete(g.waiting, 0, 1)
	}
	g.waiting = append(g.waiting, c)
}

// Prove ends a stranger's time: it has become a member, or not. It says whether there is
// room for it.
func (g *Gate) Prove(c net.Conn, member bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.waiting, c); i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
	}
	if !member || g.Members > 0 && g.members == g.Members {
		return false
	}
	g.members++
	return true
}

// Leave ends a member's time.
func (g *Gate) Leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.members--
}

// Waiting is how many strangers there are.
func (g *Gate) Waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.waiting)
}
