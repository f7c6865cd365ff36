package launcher

import (
	"fmt"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
)

// place is where a candidate runs, as programs are told it.
type place struct {
	host                 string
	localRank, localSize int
	hostRank, hostsInUse int    // HOROVOD_CROSS_*: number of its host among those in use
	first                string // host of slot 0, where a gang meets
	worldSize            int
}

// placeOf says where a slot's candidate runs: its rank among those of its host, in the order
// of slots. Spares come after all ranks and don't count.
func (j *job) placeOf(i int) place {
	p := place{host: j.Sites[j.slots[i].site], first: j.Sites[j.slots[0].site], worldSize: j.NP}
	met := map[int]bool{}
	for k := range j.slots {
		site := j.slots[k].site
		if !met[site] {
			met[site] = true
			if site == j.slots[i].site {
				p.hostRank = len(met) - 1
			}
		}
		if site == j.slots[i].site {
			if k < i {
				p.localRank++
			}
			if k < j.NP {
				p.localSize++
			}
		}
	}
	p.hostsInUse = len(met)
	return p
}

// refuge is the host that takes a spare, or a slot whose own host is lost: the first of those with the
// most room or, where none has any, with the least beyond it. With all lost it doesn't
// matter: the job is about to end.
func (j *job) refuge() int {
	room := make([]int, len(j.Sites))
	copy(room, j.Capacity)
	for i := range j.slots {
		if s := &j.slots[i]; !s.retired && !(s.current != nil && s.current.evicted) {
			room[s.site]--
		}
	}
	best := -1
	for site := range j.Sites {
		if j.usable(site) && (best < 0 || j.roomier(room, site, best)) {
			best = site
		}
	}
	return max(best, 0)
}

// hostLost takes all that ran on a host for dead, and moves it to other hosts. Who is only
// cut off notices that the broker is, and ends by itself.
func (j *job) hostLost(host, why string, now time.Time) {
	site := j.siteOf(host)
	if _, known := j.lost[site]; known || site < 0 || j.phase == over {
		return
	}
	host = j.Sites[site]
	j.lost[site] = why
	j.strike(site, now)
	gone := ending{status: control.StatusNoHost, lost: why}
	j.do(actEnd{host}) // who was only away for a while must not go on beside the others
	var there, ranks []*candidate
	for _, c := range j.candidates() {
		if c.host == host && !c.drained {
			there = append(there, c)
			if j.ranked(c) && !c.released && !c.exited {
				ranks = append(ranks, c)
			}
		}
	}
	if j.phase == training && len(ranks) > 0 {
		switch {
		case len(j.lost) == len(j.Sites):
			j.fail(Cause{Rank: -1, Host: host, Step: j.steps, Kind: control.KindHost, Detail: fmt.Sprintf("no host is left: %s was lost: %s", host, why)}, control.StatusNoHost, now)
		case j.elastic() && j.gen.ID > 0:
			j.note("host %s was lost: %s: it had %s", host, why, plural(len(ranks), "rank"))
		case j.hasJoined() && j.restarts >= j.Restarts:
			ranks[0].end = gone
			j.blame(ranks[0], now)
		case j.hasJoined():
			j.restarts++
			j.note("host %s was lost: %s: starting its %s on other hosts (restart %d of %d)", host, why, plural(len(ranks), "rank"), j.restarts, j.Restarts)
		default:
			j.note("host %s was lost: %s", host, why)
		}
	}
	for _, c := range there {
		j.exited(c, gone, now)
		c.remedy = "" // said once for the host
		j.drained(c, c.tail)
	}
	j.fence(now)
}

// fence has nothing started as long as a generation of which no rank is in sight may still
// train elsewhere: a host that is cut off has no word of the next one.
func (j *job) fence(now time.Time) {
	if j.phase != training || j.gen.ID == 0 || len(j.gen.Members) == 0 {
		return
	}
	for _, m := range j.gen.Members {
		if !j.members[m.ID].exited {
			return
		}
	}
	held := false
	for i := range j.slots {
		if s := &j.slots[i]; !s.retired && s.current.exited {
			s.startAt, held = now.Add(control.LeaseWithin), true
		}
	}
	if held {
		j.note("no rank is in sight: waiting %v for those that may live to have ended, then starting from the newest checkpoint", control.LeaseWithin)
	}
}
