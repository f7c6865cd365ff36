package worker

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gorun-ml/gorun/kernels"
)

// mostMends is how often one step is tried again because of ranks that differ.
const mostMends = 3

// sentry finds ranks whose parameters or optimizer state have come to differ: bits that
// flipped in memory, or a processor that miscalculates. In each step every rank hashes a part
// of its state, another one each time, and the control word carries the hash:
//
//	step     0      1      2      3   |  4 …
//	state [ w1   |  w1 b1| w2    | velocity ]  with every = 4
//
// So the cost is the same in all steps, and after every steps all of it was compared. The
// program's own tensors are not: they may be a rank's own until the program shares them.
type sentry struct {
	tensors []Tensor // parameters, then the optimizer's
	bytes   int
	every   int
}

// newSentry is nil where there is nothing to compare.
func newSentry(st *State, every, size int) *sentry {
	if every == 0 || size == 1 {
		return nil
	}
	v := &sentry{tensors: st.all[:len(st.all)-len(st.Extra)], every: every}
	for _, t := range v.tensors {
		v.bytes += len(t.Data.Bytes)
	}
	return v
}

// hash is that of the part of the state whose turn it is in a step.
func (v *sentry) hash(step int) int64 {
	part := step % v.every
	lo, hi := v.bytes*part/v.every, v.bytes*(part+1)/v.every
	var sum uint32
	for _, t := range v.tensors {
		if hi <= 0 {
			break
		}
		n := len(t.Data.Bytes)
		if lo < n {
			sum = kernels.CRC32C(sum, t.Data.Bytes[max(lo, 0):min(hi, n)])
		}
		lo, hi = lo-n, hi-n
	}
	return int64(sum)
}

// mark puts a step's hash into a rank's control word.
func (v *sentry) mark(w *word, step int) {
	if v != nil {
		h := v.hash(step)
		w[wordHash], w[wordInverse] = h, ^h
	}
}

// differs reports whether the hashes of all ranks, as the world's word has them, are not one:
// the greatest complement is that of the least hash.
func (v *sentry) differs(w word) bool { return v != nil && w[wordHash] != ^w[wordInverse] }

// split is a tensor that is not the same on all ranks.
type split struct {
	tensor int
	groups [][]int // ranks that hold the same, the largest group first
}

// from is the rank whose tensor is right, if more than half of the ranks hold the same.
func (s split) from() (rank int, ok bool) {
	n := 0
	for _, g := range s.groups {
		n += len(g)
	}
	return s.groups[0][0], 2*len(s.groups[0]) > n
}

// odd are the ranks whose tensor is not that of the first group.
func (s split) odd() []int { return slices.Concat(s.groups[1:]...) }

// compare finds the tensors that are not alike. sums has those of rank 0's tensors, then
// those of rank 1's, and so on.
func compare(sums []int64, size int) []split {
	var splits []split
	tensors := len(sums) / size
	for t := range tensors {
		var groups [][]int
		at := map[int64]int{}
		for r := range size {
			sum := sums[r*tensors+t]
			g, known := at[sum]
			if !known {
				g = len(groups)
				at[sum] = g
				groups = append(groups, nil)
			}
			groups[g] = append(groups[g], r)
		}
		if len(groups) > 1 {
			slices.SortStableFunc(groups, func(a, b []int) int { return len(b) - len(a) })
			splits = append(splits, split{t, groups})
		}
	}
	return splits
}

// mend compares the state of all ranks, and gives those in the minority what the majority
// holds. It is collective, and its cost is that of reading the state once.
func (s *Session) mend() (mended bool, err error) {
	v := s.sentry
	own := make([]int64, len(v.tensors))
	for i, t := range v.tensors {
		own[i] = int64(kernels.CRC32C(0, t.Data.Bytes))
	}
	all := make([]int64, len(own)*s.size)
	s.p.doing.set(waits)
	defer s.p.doing.set(works)
	if err := s.comm.AllGather(kernels.Of(all), kernels.Of(own)); err != nil {
		return false, err
	}
	splits := compare(all, s.size)
	for _, x := range splits {
		if _, ok := x.from(); !ok {
			return false, s.undecided(x)
		}
	}
	for _, x := range splits {
		if slices.Contains(x.odd(), s.rank) {
			s.st.ready = false // should the rank that has it right be lost meanwhile
		}
	}
	for _, x := range splits {
		from, _ := x.from()
		t := v.tensors[x.tensor]
		if err := s.comm.Broadcast(t.Data, from); err != nil {
			return false, fmt.Errorf("state %s: %w", t.Name, err)
		}
	}
	s.st.ready = true
	if len(splits) > 0 {
		s.Log("warning: before step %d, %s: replaced by what the other ranks hold; if it happens again, test the memory there", s.st.step+1, s.difference(splits))
	}
	return len(splits) > 0, nil
}

// difference says which ranks held other bits, and where.
func (s *Session) difference(splits []split) string {
	var who []int
	for _, x := range splits {
		who = append(who, x.odd()...)
	}
	slices.Sort(who)
	who = slices.Compact(who)
	var names []string
	for _, r := range who {
		names = append(names, fmt.Sprintf("rank %d (host %s)", r, s.gen.Members[r].Host))
	}
	what := s.sentry.tensors[splits[0].tensor].Name
	if more := len(splits) - 1; more > 0 {
		what += fmt.Sprintf(" and %d more tensors", more)
	}
	return strings.Join(names, ", ") + " held other bits in " + what
}

// undecided ends the job: nobody knows which rank is right.
func (s *Session) undecided(x split) error {
	var groups []string
	for _, g := range x.groups {
		var ranks []string
		for _, r := range g {
			ranks = append(ranks, strconv.Itoa(r))
		}
		groups = append(groups, strings.Join(ranks, ", "))
	}
	return disagreement{x.odd()[0], fmt.Errorf("before step %d, %s is not the same on ranks %s, and no majority says which is right: test the memory of their hosts, and resume from a checkpoint",
		s.st.step+1, s.sentry.tensors[x.tensor].Name, strings.Join(groups, " and "))}
}
