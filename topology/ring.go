package topology

// ring passes blocks round the group. Each rank sends to the next and receives from the
// one before, n−1 times in each half, one block of n at a time, so that every link carries
// 2(n−1)/n of the data, the least possible (Patarasuk and Yuan, Bandwidth optimal
// all-reduce algorithms for clusters of workstations, JPDC 69, 2009).
//
//	step      0        1        2             block that a rank sends; after the last
//	rank 0    3 →1     2 →1     1 →1          step rank p has the sum of block p
//	rank 1    0 →2     3 →2     2 →2
//	rank 2    1 →3     0 →3     3 →3
//	rank 3    2 →0     1 →0     0 →0
var ring = halves{group.ringReduceScatter, group.ringAllGather}

// Ring is the bandwidth-optimal all-reduce: 2(n−1) steps of one n-th of the data. The ring
// goes host by host, so that each host's link carries the data once in and once out.
func Ring(w World, rank int) Plan { return ring.allReduce(w, rank) }

// RingReduceScatter is the first half of Ring: rank r ends with the sum of chunk r.
func RingReduceScatter(w World, rank int) Plan {
	g := w.group(rank)
	return single(w, rank, w.Size(), g.ringReduceScatter(g.own()))
}

// RingAllGather is the second half of Ring: all ranks end with everyone's chunk.
func RingAllGather(w World, rank int) Plan {
	g := w.group(rank)
	return single(w, rank, w.Size(), g.ringAllGather(g.own()))
}

func (g group) ringReduceScatter(b blocks) []Step {
	steps := make([]Step, 0, 2*g.size())
	for k := range g.size() - 1 {
		steps = append(steps, Step{
			SendTo: g.at(g.me + 1), Send: b.at(g.turn(g.me - 1 - k)),
			RecvFrom: g.at(g.me - 1), Recv: b.at(g.turn(g.me - 2 - k)), Reduce: true,
		})
	}
	return steps
}

func (g group) ringAllGather(b blocks) []Step {
	steps := make([]Step, 0, g.size())
	for k := range g.size() - 1 {
		steps = append(steps, Step{
			SendTo: g.at(g.me + 1), Send: b.at(g.turn(g.me - k)),
			RecvFrom: g.at(g.me - 1), Recv: b.at(g.turn(g.me - 1 - k)),
		})
	}
	return steps
}
