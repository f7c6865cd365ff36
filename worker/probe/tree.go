package probe

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/gorun-ml/gorun/collective/transport"
)

// tree is a binomial tree of all ranks with rank 0 on top: below rank r are the ranks up to
// r plus its lowest bit.
//
//	0 ─ 1   2   4
//	        └ 3 ├ 5
//	            └ 6 ─ 7
type tree struct {
	mesh   transport.Mesh
	rank   int
	size   int
	parent int // -1 for rank 0
	below  []int
}

func newTree(mesh transport.Mesh, rank, size int) *tree {
	t := &tree{mesh: mesh, rank: rank, size: size, parent: -1}
	bit := 1
	for ; rank&bit == 0 && rank+bit < size; bit *= 2 {
		t.below = append(t.below, rank+bit)
	}
	if rank != 0 {
		t.parent = rank &^ (rank & -rank)
	}
	return t
}

// span is how many ranks, from this one on, are below it or it.
func (t *tree) span(rank int) int {
	if rank == 0 {
		return t.size
	}
	return min(rank&-rank, t.size-rank)
}

// Tags of what goes over the tree. All ranks run the same, so these only catch mistakes.
const (
	kind     = 0xfb
	stepUp   = 1
	stepDown = 2
	stepTell = 3
	stepPing = 4
)

func tag(step uint16, bytes int) transport.Tag {
	return transport.Tag{Kind: kind, Step: step, Bytes: uint64(bytes)}
}

func (t *tree) send(to int, step uint16, p []byte) error {
	c, err := t.mesh.Conn(to, lane)
	if err != nil {
		return err
	}
	return c.Send(tag(step, len(p)), p)
}

func (t *tree) recv(from int, step uint16, p []byte) error {
	c, err := t.mesh.Conn(from, lane)
	if err != nil {
		return err
	}
	return c.Recv(tag(step, len(p)), p, nil)
}

// barrier returns when all ranks have called it, with the largest x.
func (t *tree) barrier(x float64) (float64, error) {
	var b [8]byte
	for _, r := range t.below {
		if err := t.recv(r, stepUp, b[:]); err != nil {
			return 0, err
		}
		x = max(x, math.Float64frombits(binary.LittleEndian.Uint64(b[:])))
	}
	binary.LittleEndian.PutUint64(b[:], math.Float64bits(x))
	if t.parent >= 0 {
		if err := t.send(t.parent, stepUp, b[:]); err != nil {
			return 0, err
		}
	}
	err := t.tell(stepDown, b[:])
	return math.Float64frombits(binary.LittleEndian.Uint64(b[:])), err
}

// tell copies rank 0's p to all ranks' p.
func (t *tree) tell(step uint16, p []byte) error {
	if t.parent >= 0 {
		if err := t.recv(t.parent, step, p); err != nil {
			return err
		}
	}
	for i := len(t.below) - 1; i >= 0; i-- { // the one with the most below it first
		if err := t.send(t.below[i], step, p); err != nil {
			return err
		}
	}
	return nil
}

// gather returns all ranks' times on rank 0.
func (t *tree) gather(own *times) ([]times, error) {
	all := make([]byte, 0, t.span(t.rank)*timesBytes)
	for _, kind := range own {
		for _, x := range kind {
			all = binary.LittleEndian.AppendUint64(all, math.Float64bits(x))
		}
	}
	all = all[:cap(all)]
	for _, r := range t.below {
		if err := t.recv(r, stepUp, all[(r-t.rank)*timesBytes:][:t.span(r)*timesBytes]); err != nil {
			return nil, err
		}
	}
	if t.parent >= 0 {
		return nil, t.send(t.parent, stepUp, all)
	}
	ranks := make([]times, t.size)
	at := all
	for r := range ranks {
		for kind := range ranks[r] {
			for i := range ranks[r][kind] {
				ranks[r][kind][i] = math.Float64frombits(binary.LittleEndian.Uint64(at))
				at = at[8:]
			}
		}
	}
	return ranks, nil
}

// mostTold bounds what a rank takes memory for before it has seen it.
const mostTold = 16 << 20

// Tell copies what rank 0 says to all ranks. Every rank calls it.
func Tell(mesh transport.Mesh, rank, size int, said []byte) ([]byte, error) {
	t := newTree(mesh, rank, size)
	var length [8]byte
	binary.LittleEndian.PutUint64(length[:], uint64(len(said)))
	if err := t.tell(stepTell, length[:]); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint64(length[:])
	if n > mostTold {
		return nil, fmt.Errorf("rank 0 tells %d bytes, at most %d are allowed", n, mostTold)
	}
	if rank != 0 {
		said = make([]byte, n)
	}
	if n == 0 {
		return said, nil
	}
	return said, t.tell(stepTell, said)
}
