package collective

import (
	"github.com/gorun-ml/gorun/kernels"
)

// Broadcast is Comm.Broadcast on this lane.
func (l *Lane) Broadcast(x kernels.Vector, root int) error {
	l.lock()
	defer l.mu.Unlock()
	c := call{kind: broadcast, typ: x.Type, root: root, size: len(x.Bytes)}
	if err := l.check(&c, x); err != nil {
		return err
	}
	prog, tag, err := l.begin(&c)
	if err != nil {
		return err
	}
	return l.end(&c, tag, l.exec.run(prog, tag, nil, false, [2]view{even(x.Bytes, x.Type.Size(), prog.chunks)}))
}

// AllGather is Comm.AllGather on this lane.
func (l *Lane) AllGather(dst, src kernels.Vector) error {
	l.lock()
	defer l.mu.Unlock()
	c := call{kind: allGather, typ: src.Type, size: len(dst.Bytes)}
	if err := l.check(&c, src); err != nil {
		return err
	}
	if err := l.checkParts(&c, "dst", dst, "src", src, l.comm.Size()); err != nil {
		return err
	}
	prog, tag, err := l.begin(&c)
	if err != nil {
		return err
	}
	copy(dst.Bytes[l.comm.rank*len(src.Bytes):], src.Bytes)
	return l.end(&c, tag, l.exec.run(prog, tag, nil, false, [2]view{even(dst.Bytes, src.Type.Size(), prog.chunks)}))
}

// AllGatherV is Comm.AllGatherV on this lane.
func (l *Lane) AllGatherV(dst kernels.Vector, counts []int, src kernels.Vector) error {
	l.lock()
	defer l.mu.Unlock()
	c := call{kind: allGatherV, typ: src.Type, size: len(dst.Bytes), hash: hash(counts)}
	if err := l.check(&c, src); err != nil {
		return err
	}
	if err := l.checkCounts(&c, "dst", dst, "counts", counts); err != nil {
		return err
	}
	if dst.Type != src.Type {
		return l.invalid(&c, "dst is %s, src %s: want one type", dst.Type, src.Type)
	}
	if want := counts[l.comm.rank]; src.Len() != want {
		return l.invalid(&c, "src has %d elements, counts says %d for rank %d", src.Len(), want, l.comm.rank)
	}
	prog, tag, err := l.begin(&c)
	if err != nil {
		return err
	}
	cuts := l.cut(0, counts, src.Type.Size())
	copy(dst.Bytes[cuts[l.comm.rank]:], src.Bytes)
	return l.end(&c, tag, l.exec.run(prog, tag, nil, false, [2]view{uneven(dst.Bytes, cuts)}))
}

// Gather is Comm.Gather on this lane.
func (l *Lane) Gather(dst, src kernels.Vector, root int) error {
	l.lock()
	defer l.mu.Unlock()
	n, rank := l.comm.Size(), l.comm.rank
	c := call{kind: gather, typ: src.Type, root: root, size: n * len(src.Bytes)}
	if err := l.check(&c, src); err != nil {
		return err
	}
	if rank == root {
		if err := l.checkParts(&c, "dst", dst, "src", src, n); err != nil {
			return err
		}
	}
	prog, tag, err := l.begin(&c)
	if err != nil {
		return err
	}
	v := even(dst.Bytes, src.Type.Size(), prog.chunks)
	if rank != root {
		v = l.partial(prog, src)
	}
	copy(v.bytes(rank, rank+1), src.Bytes)
	return l.end(&c, tag, l.exec.run(prog, tag, nil, false, [2]view{v}))
}

// Scatter is Comm.Scatter on this lane.
func (l *Lane) Scatter(dst, src kernels.Vector, root int) error {
	l.lock()
	defer l.mu.Unlock()
	n, rank := l.comm.Size(), l.comm.rank
	c := call{kind: scatter, typ: dst.Type, root: root, size: n * len(dst.Bytes)}
	if err := l.check(&c, dst); err != nil {
		return err
	}
	if rank == root {
		if err := l.checkParts(&c, "src", src, "dst", dst, n); err != nil {
			return err
		}
	}
	prog, tag, err := l.begin(&c)
	if err != nil {
		return err
	}
	v := even(src.Bytes, dst.Type.Size(), prog.chunks)
	if rank != root {
		v = l.partial(prog, dst)
	}
	f := l.exec.run(prog, tag, nil, false, [2]view{v})
	if f.err == nil {
		copy(dst.Bytes, v.bytes(rank, rank+1))
	}
	return l.end(&c, tag, f)
}

// partial is the view of a rank that has only its own part of a buffer: the part itself, or
// scratch where the plan has the rank pass on parts of others.
func (l *Lane) partial(prog *program, own kernels.Vector) view {
	rank := l.comm.rank
	v := view{data: own.Bytes, count: l.comm.Size() * own.Len(), chunks: prog.chunks, size: own.Type.Size()}
	if t := prog.touch[0]; t.lo < rank || t.hi > rank+1 {
		lo, hi := min(t.lo, rank), max(t.hi, rank+1)
		v.shift = v.at(lo)
		v.data = l.room(v.at(hi) - v.shift)
		return v
	}
	v.shift = v.at(rank)
	return v
}
