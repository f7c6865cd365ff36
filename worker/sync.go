package worker

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gorun-ml/gorun/collective"
	"github.com/gorun-ml/gorun/kernels"
)

// standing is what a rank says of itself when a generation starts.
type standing struct {
	ready  bool
	step   int
	digest uint64 // of layout
}

// newest is the rank whose state all others take: the lowest one that has gone furthest, or
// rank 0 where nobody has a state yet. behind says whether anybody needs it.
func newest(all []standing) (rank int, behind bool) {
	for r, s := range all {
		best := all[rank]
		if s.ready && (!best.ready || s.step > best.step) {
			rank = r
		}
	}
	for _, s := range all {
		behind = behind || !s.ready || s.step != all[rank].step
	}
	return rank, behind
}

// synchronise brings all ranks to the newest state among them. first is called on the rank
// that begins the trajectory where no rank holds one.
//
// A step is applied on all ranks or on none that failed before it, so survivors of a loss
// differ by one step at most, and the newest of them has the whole of it.
func synchronise(c *collective.Comm, st *State, layout string, first func() error) error {
	all, err := gather(c, standing{ready: st.ready, step: st.step, digest: digest(layout)})
	if err != nil {
		return err
	}
	if err := agree(c, all, layout); err != nil {
		return err
	}
	from, behind := newest(all)
	if !behind {
		return nil
	}
	if c.Rank() == from && !st.ready {
		if err := first(); err != nil {
			return err
		}
	}
	group := takers(all, from)
	root := slices.Index(group, c.Rank())
	if root < 0 {
		return nil // it has this state
	}
	root = slices.Index(group, from)
	if len(group) < c.Size() {
		if c, err = c.Sub(group); err != nil {
			return err
		}
	}
	err = stream(c, st, root)
	if len(group) < len(all) {
		err = errors.Join(err, c.Close())
	}
	return err
}

// takers are the ranks that take part when from's state goes to all who lack it, in order.
// The others need not wait for them, nor use the memory's bandwidth.
func takers(all []standing, from int) (group []int) {
	for r, s := range all {
		if r == from || !s.ready || s.step != all[from].step {
			group = append(group, r)
		}
	}
	return group
}

// stream gives root's state to all ranks of c. A rank keeps what it has until it has the whole
// of the other: root may be lost meanwhile, and half a step is worth nothing. That holds for
// initial values too, from which a rank begins anew where all that had a state are lost.
func stream(c *collective.Comm, st *State, root int) error {
	k := &st.strikes
	counts := []int64{int64(st.step), int64(k.row), int64(k.skipped), int64(k.returns), int64(k.bad)}
	if err := c.Broadcast(kernels.Of(counts), root); err != nil {
		return err
	}
	apart := c.Rank() != root
	fresh := make([]kernels.Vector, len(st.all))
	for i, t := range st.all {
		if fresh[i] = t.Data; apart {
			fresh[i].Bytes = make([]byte, len(t.Data.Bytes))
		}
		if err := c.Broadcast(fresh[i], root); err != nil {
			return fmt.Errorf("state %s: %w", t.Name, err)
		}
	}
	if apart {
		for i, t := range st.all {
			copy(t.Data.Bytes, fresh[i].Bytes)
		}
	}
	st.step, st.ready = int(counts[0]), true
	k.row, k.skipped, k.returns, k.bad = int(counts[1]), int(counts[2]), int(counts[3]), int(counts[4])
	return nil
}

// gather tells every rank every standing.
func gather(c *collective.Comm, s standing) ([]standing, error) {
	own := []int64{0, int64(s.step), int64(s.digest)}
	if s.ready {
		own[0] = 1
	}
	flat := make([]int64, len(own)*c.Size())
	if err := c.AllGather(kernels.Of(flat), kernels.Of(own)); err != nil {
		return nil, err
	}
	all := make([]standing, c.Size())
	for r := range all {
		f := flat[r*len(own):]
		all[r] = standing{ready: f[0] == 1, step: int(f[1]), digest: uint64(f[2])}
	}
	return all, nil
}

// agree compares the layouts. Where they differ, ranks exchange them in full, so that the
// error can name the tensor.
func agree(c *collective.Comm, all []standing, layout string) error {
	other := -1
	for r, s := range all {
		if s.digest != all[0].digest && other < 0 {
			other = r
		}
	}
	if other < 0 {
		return nil
	}
	lengths := make([]int64, c.Size())
	if err := c.AllGather(kernels.Of(lengths), kernels.Of([]int64{int64(len(layout))})); err != nil {
		return err
	}
	counts, total := make([]int, c.Size()), 0
	for r, n := range lengths {
		counts[r] = int(n)
		total += int(n)
	}
	joined := make([]uint8, total)
	if err := c.AllGatherV(kernels.Of(joined), counts, kernels.Of([]uint8(layout))); err != nil {
		return err
	}
	layouts := make([]string, c.Size())
	for r, n := range counts {
		layouts[r], joined = string(joined[:n]), joined[n:]
	}
	// Where only rank 0 is alone with its layout, it is the one to name.
	odd, ref := other, 0
	if c.Size() > 2 && layouts[c.Size()-1] != layouts[0] && layouts[1] == layouts[c.Size()-1] {
		odd, ref = 0, 1
	}
	a, b := firstDifference(layouts[odd], layouts[ref])
	return disagreement{odd, fmt.Errorf("rank %d has %s, rank %d has %s: start all ranks with the same program and flags", odd, a, ref, b)}
}

// firstDifference is the first line in which two layouts differ.
func firstDifference(a, b string) (string, string) {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range max(len(x), len(y)) {
		var l, r string
		if i < len(x) {
			l = x[i]
		}
		if i < len(y) {
			r = y[i]
		}
		if l != r {
			return orNothing(l), orNothing(r)
		}
	}
	return "the same", "the same"
}

func orNothing(s string) string {
	if s == "" {
		return "nothing there"
	}
	return s
}

// layout writes down all that ranks must have in common: a tensor a line, then the order of
// the gradients.
func (st *State) layout() string {
	var b strings.Builder
	for _, t := range st.all {
		fmt.Fprintf(&b, "%s %v%v\n", t.Name, t.Data.Type, t.Shape)
	}
	if st.Model == nil {
		return b.String()
	}
	fmt.Fprintf(&b, "backward order %v in buckets of %d bytes, %d parts a step\n", st.Model.BackwardOrder(), st.BucketBytes, st.Accumulate)
	return b.String()
}

func digest(layout string) uint64 {
	sum := sha256.Sum256([]byte(layout))
	return binary.LittleEndian.Uint64(sum[:])
}
