package launcher

import (
	"fmt"
	"slices"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
)

// A link between two hosts may be broken although each of them reaches everybody else, and
// gossip finds nothing wrong. Then connecting anew is of no use: one of the two is left.

const (
	// mostBroken is how many generations a link may fail without a step between.
	mostBroken = 2
	// linkLosses is for how many losses a host counts that was left for a link: it is there,
	// and would be used again at once.
	linkLosses = 7
)

// A link is two hosts, in the order of their names.
type link [2]string

func (l link) String() string { return l[0] + " and " + l[1] }

// linkOf is the link between two members that live; none where they are on one host.
func (j *job) linkOf(one, other string) (l link, ok bool) {
	a, b := j.members[one], j.members[other]
	if a == nil || b == nil || a.exited || b.exited || a.host == b.host {
		return l, false
	}
	return link{min(a.host, b.host), max(a.host, b.host)}, true
}

// unlink takes in which connection has failed, and leaves a host where those of a link do
// again and again.
func (j *job) unlink(s control.Stranded, now time.Time) {
	if j.steps > j.brokenAt {
		clear(j.broken) // they have worked since
		j.brokenAt = j.steps
	}
	l, ok := j.linkOf(s.Member, s.Peer)
	if !ok || slices.Contains(j.broken[l], s.Generation) {
		return
	}
	j.broken[l] = append(j.broken[l], s.Generation)
	if len(j.broken[l]) >= mostBroken {
		j.leaveFor(l, now)
	}
}

// leaveFor takes one of the two hosts of a link for lost.
func (j *job) leaveFor(l link, now time.Time) {
	host := j.worse(l)
	for other := range j.broken {
		if slices.Contains(other[:], host) {
			delete(j.broken, other)
		}
	}
	s := j.stayAt(slices.Index(j.Sites, host))
	j.hostLost(j.agentOf(host), fmt.Sprintf("%s don't reach each other, though both answer", l), now)
	s.losses = max(s.losses, linkLosses)
}

// agentOf is the name of a host's agent.
func (j *job) agentOf(host string) string {
	if s := j.stays[slices.Index(j.Sites, host)]; s != nil && s.agent != "" {
		return s.agent
	}
	return host
}

// worse is the host of a link that more links of are broken, else that of the highest rank.
// The launcher's own can't be left.
func (j *job) worse(l link) string {
	var broken, top [2]int
	for i, host := range l {
		for other := range j.broken {
			if slices.Contains(other[:], host) {
				broken[i]++
			}
		}
		for rank, m := range j.gen.Members {
			if j.members[m.ID].host == host {
				top[i] = rank
			}
		}
	}
	second := broken[1] > broken[0] || broken[1] == broken[0] && top[1] > top[0]
	if l[0] == j.Host || l[1] != j.Host && second {
		return l[1]
	}
	return l[0]
}
