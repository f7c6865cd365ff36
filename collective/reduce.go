package collective

import (
	"fmt"

	"github.com/gorun-ml/gorun/kernels"
)

// AllReduce is Comm.AllReduce on this lane.
func (l *Lane) AllReduce(x kernels.Vector, op kernels.Op) error {
	return l.AllReduceNamed("", x, op)
}

// AllReduceNamed is AllReduce for an operation that errors name: bucket conv2.w.
func (l *Lane) AllReduceNamed(name string, x kernels.Vector, op kernels.Op) error {
	l.lock()
	defer l.mu.Unlock()
	c := call{kind: allReduce, typ: x.Type, op: op, size: len(x.Bytes), name: name}
	return l.allReduce(&c, x)
}

// allReduce is called with the lane locked.
func (l *Lane) allReduce(c *call, x kernels.Vector) error {
	if err := l.checkReduction(c, x); err != nil {
		return err
	}
	prog, tag, err := l.begin(c)
	if err != nil {
		return err
	}
	if l.sharing(c) {
		return l.end(c, tag, fault{-1, l.shared.allReduce(tag, x, c.op)})
	}
	f := l.exec.run(prog, tag, kernels.Folder(c.op, c.typ), false, [2]view{even(x.Bytes, c.typ.Size(), prog.chunks)})
	if f.err == nil && c.op == kernels.Average {
		kernels.Divide(x, l.comm.Size())
	}
	return l.end(c, tag, f)
}

// Reduce is Comm.Reduce on this lane.
func (l *Lane) Reduce(x kernels.Vector, op kernels.Op, root int) error {
	l.lock()
	defer l.mu.Unlock()
	c := call{kind: reduce, typ: x.Type, op: op, root: root, size: len(x.Bytes)}
	if err := l.checkReduction(&c, x); err != nil {
		return err
	}
	prog, tag, err := l.begin(&c)
	if err != nil {
		return err
	}
	f := l.exec.run(prog, tag, kernels.Folder(op, x.Type), false, [2]view{even(x.Bytes, x.Type.Size(), prog.chunks)})
	if f.err == nil && op == kernels.Average && root == l.comm.rank {
		kernels.Divide(x, l.comm.Size())
	}
	return l.end(&c, tag, f)
}

// ReduceScatter is Comm.ReduceScatter on this lane.
func (l *Lane) ReduceScatter(dst, src kernels.Vector, op kernels.Op) error {
	l.lock()
	defer l.mu.Unlock()
	n, part := l.comm.Size(), len(dst.Bytes)
	c := call{kind: reduceScatter, typ: src.Type, op: op, size: len(src.Bytes)}
	if err := l.checkReduction(&c, src); err != nil {
		return err
	}
	if err := l.checkParts(&c, "src", src, "dst", dst, n); err != nil {
		return err
	}
	prog, tag, err := l.begin(&c)
	if err != nil {
		return err
	}
	work := l.room(len(src.Bytes))
	copy(work, src.Bytes)
	f := l.exec.run(prog, tag, kernels.Folder(op, src.Type), false, [2]view{even(work, src.Type.Size(), prog.chunks)})
	if f.err == nil {
		copy(dst.Bytes, work[l.comm.rank*part:])
		if op == kernels.Average {
			kernels.Divide(dst, n)
		}
	}
	return l.end(&c, tag, f)
}

// Barrier is Comm.Barrier on this lane.
func (l *Lane) Barrier() error {
	l.lock()
	defer l.mu.Unlock()
	c := call{kind: barrier}
	prog, tag, err := l.begin(&c)
	if err != nil {
		return err
	}
	if l.sharing(&c) {
		return l.end(&c, tag, fault{-1, l.shared.barrier(tag)})
	}
	return l.end(&c, tag, l.exec.run(prog, tag, nil, true, [2]view{}))
}

// invalid is an operation that was called wrongly. Nothing has been sent.
func (l *Lane) invalid(c *call, format string, args ...any) error {
	return l.wrap(c, c.tag(l.seq, l.past), fault{-1, fmt.Errorf(format, args...)})
}

func (l *Lane) checkReduction(c *call, x kernels.Vector) error {
	if c.op < kernels.Sum || c.op > kernels.Average {
		return l.invalid(c, "there is no reduction %d", c.op)
	}
	return l.check(c, x)
}

// check finds out whether x is a vector and the root a rank.
func (l *Lane) check(c *call, x kernels.Vector) error {
	if x.Type < kernels.Float32 || x.Type > kernels.Uint8 {
		return l.invalid(c, "the vector has no element type: make it with kernels.Of")
	}
	if len(x.Bytes)%x.Type.Size() != 0 {
		return l.invalid(c, "the vector has %d bytes, not a multiple of %d, the size of a %s", len(x.Bytes), x.Type.Size(), x.Type)
	}
	if c.root < 0 || c.root >= l.comm.Size() {
		return l.invalid(c, "the root is rank %d, want 0 to %d", c.root, l.comm.Size()-1)
	}
	return nil
}

// checkParts finds out whether whole has n parts like part.
func (l *Lane) checkParts(c *call, wholeName string, whole kernels.Vector, partName string, part kernels.Vector, n int) error {
	if whole.Type != part.Type {
		return l.invalid(c, "%s is %s, %s %s: want one type", wholeName, whole.Type, partName, part.Type)
	}
	if len(whole.Bytes) != n*len(part.Bytes) {
		return l.invalid(c, "%s has %d elements, want %d: %d ranks times the %d of %s", wholeName, whole.Len(), n*part.Len(), n, part.Len(), partName)
	}
	return nil
}
