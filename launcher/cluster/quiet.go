package cluster

import (
	"sync"
	"time"
)

const (
	maxStrangers   = 64              // connections that have not proved anything yet
	maxMembers     = 1024            // connections that have
	handshakeBound = 2 * time.Second // for a stranger to become a member
)

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
