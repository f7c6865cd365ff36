package replica

import (
	"math/rand/v2"
	"time"

	"github.com/hashicorp/raft"
)

// watch says when a follower should look for its leader. Raft does so now and then, so that
// it misses one only after two to three times its timeout in the worst case, and a new one
// is elected only when a majority does. Looking in time makes that silence, and a bit that
// differs from member to member, so that they don't all stand for election at once.
type watch struct {
	patience time.Duration
	looked   time.Time
}

// newWatch begins as if the leader had been silent, so that the first is elected soon.
func newWatch(now time.Time) *watch {
	return &watch{patience: silence + bit(), looked: now.Add(-silence)}
}

func bit() time.Duration { return rand.N(spread) }

// due says whether it is time to look, given the last sign of the leader.
func (w *watch) due(now, contact time.Time) bool {
	since := contact
	if w.looked.After(since) {
		since = w.looked
	}
	if now.Sub(since) < w.patience {
		return false
	}
	w.patience, w.looked = silence+bit(), now
	return true
}

// look has raft look now whether the leader has been silent for too long, which it does when
// the timeout becomes shorter.
func look(r *raft.Raft) {
	c := r.ReloadableConfig()
	for _, timeout := range []time.Duration{silence + 1, silence} {
		c.HeartbeatTimeout = timeout
		if err := r.ReloadConfig(c); err != nil {
			panic("replica: raft refuses its own configuration: " + err.Error())
		}
	}
}
