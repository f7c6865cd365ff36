package cluster

import (
	"net"
	"sync"
	"time"
)

const (
	maxStrangers   = 64              // connections that have not proved anything yet
	maxMembers     = 1024            // connections that have
	handshakeBound = 2 * time.Second // for a stranger to become a member
)

// gate bounds how many strangers are being listened to. One too many turns out the one that
// has been there for longest: a member needs a few milliseconds, so that a crowd of silent
// ones can't keep it out.
type gate struct {
	mu        sync.Mutex
	strangers []net.Conn // in the order of their coming
	members   int
}

// enter lets a stranger in.
func (g *gate) enter(c net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.strangers) == maxStrangers {
		_ = g.strangers[0].Close() // its goroutine notices
		g.strangers = append(g.strangers[:0], g.strangers[1:]...)
	}
	g.strangers = append(g.strangers, c)
}

// prove ends a stranger's time: it has become a member, or not. It says whether there is
// room for it.
func (g *gate) prove(c net.Conn, member bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, s := range g.strangers {
		if s == c {
			g.strangers = append(g.strangers[:i], g.strangers[i+1:]...)
			break
		}
	}
	if !member || g.members == maxMembers {
		return false
	}
	g.members++
	return true
}

// leave ends a member's time.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.members--
}

const (
	quietFor     = time.Minute
	quietEntries = 1024
)

// quiet keeps the log short: a line an address a minute, whatever strangers do.
type quiet struct {
	mu   sync.Mutex
	said map[string]time.Time
}

// may says whether there may be a line about the address.
func (q *quiet) may(addr string, now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if last, ok := q.said[addr]; ok && now.Sub(last) < quietFor {
		return false
	}
	if len(q.said) >= quietEntries {
		for a, last := range q.said {
			if now.Sub(last) >= quietFor {
				delete(q.said, a)
			}
		}
		if len(q.said) >= quietEntries {
			return false
		}
	}
	if q.said == nil {
		q.said = map[string]time.Time{}
	}
	q.said[addr] = now
	return true
}
