package collective

import (
	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/kernels"
)

// AllToAll is Comm.AllToAll on this lane.
func (l *Lane) AllToAll(dst, src kernels.Vector) error {
	l.lock()
	defer l.mu.Unlock()
	n := l.comm.Size()
	c := call{kind: allToAll, typ: src.Type, size: len(src.Bytes)}
	if err := l.check(&c, src); err != nil {
		return err
	}
	if err := l.checkParts(&c, "dst", dst, "src", src, 1); err != nil {
		return err
	}
	if src.Len()%n != 0 {
		return l.invalid(&c, "src has %d elements, which %d ranks cannot share evenly: use AllToAllV", src.Len(), n)
	}
	prog, tag, err := l.begin(&c)
	if err != nil {
		return err
	}
	from, to := even(src.Bytes, src.Type.Size(), n), even(dst.Bytes, src.Type.Size(), n)
	return l.exchange(&c, prog, tag, from, to)
}

// AllToAllV is Comm.AllToAllV on this lane.
func (l *Lane) AllToAllV(dst kernels.Vector, dstCounts []int, src kernels.Vector, srcCounts []int) error {
	l.lock()
	defer l.mu.Unlock()
	c := call{kind: allToAllV, typ: src.Type}
	if err := l.check(&c, src); err != nil {
		return err
	}
	if dst.Type != src.Type {
		return l.invalid(&c, "dst is %s, src %s: want one type", dst.Type, src.Type)
	}
	if err := l.checkCounts(&c, "dst", dst, "dstCounts", dstCounts); err != nil {
		return err
	}
	if err := l.checkCounts(&c, "src", src, "srcCounts", srcCounts); err != nil {
		return err
	}
	if rank := l.comm.rank; dstCounts[rank] != srcCounts[rank] {
		return l.invalid(&c, "rank %d sends itself %d elements and expects %d", rank, srcCounts[rank], dstCounts[rank])
	}
	prog, tag, err := l.begin(&c)
	if err != nil {
		return err
	}
	size := src.Type.Size()
	return l.exchange(&c, prog, tag, uneven(src.Bytes, l.cut(0, srcCounts, size)), uneven(dst.Bytes, l.cut(1, dstCounts, size)))
}

// exchange runs an all-to-all. Empty messages of the uneven one are sent too, so that ranks
// whose counts don't agree hear of it.
func (l *Lane) exchange(c *call, prog *program, tag transport.Tag, from, to view) error {
	rank := l.comm.rank
	copy(to.bytes(rank, rank+1), from.bytes(rank, rank+1))
	return l.end(c, tag, l.exec.run(prog, tag, nil, c.kind == allToAllV, [2]view{from, to}))
}

// checkCounts finds out whether counts has a part of x for each rank.
func (l *Lane) checkCounts(c *call, name string, x kernels.Vector, countsName string, counts []int) error {
	if len(counts) != l.comm.Size() {
		return l.invalid(c, "%s has %d numbers, want one for each of %d ranks", countsName, len(counts), l.comm.Size())
	}
	sum := 0
	for r, n := range counts {
		if n < 0 {
			return l.invalid(c, "%s[%d] is %d: want no negative numbers", countsName, r, n)
		}
		sum += n
	}
	if sum != x.Len() {
		return l.invalid(c, "%s has %d elements, %s adds up to %d", name, x.Len(), countsName, sum)
	}
	return nil
}

// hash tells apart the counts that ranks were called with.
func hash(counts []int) uint16 {
	h := digest(counts)
	return uint16(h ^ h>>16)
}
