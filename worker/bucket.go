package worker

import (
	"errors"
	"fmt"

	"github.com/gorun-ml/gorun/kernels"
)

// bucket is a run of gradients that are reduced together, back to back in one buffer in the
// order in which the backward pass finishes them.
type bucket struct {
	name    string
	memory  []byte // as it was allocated
	data    []float32
	pending int // gradients still missing in this step
	left    int // what pending starts from
}

// buckets is the fixed layout of a session: which bucket and where each gradient goes.
//
//	backward order   b3  w3 | b2   w2 | b1   w1  loss
//	                 bucket0  bucket1   bucket2
//
// The last bucket has one more number, the sum of the losses.
type buckets struct {
	list   []bucket
	of     []int // parameter -> bucket
	grads  []Tensor
	loss   *float32
	memory memory
}

// memory is where buckets lie: a transport may reach it directly.
type memory interface {
	Alloc(bytes int) ([]byte, error)
	Free(p []byte) error
}

// limits is how large buckets become, where a gradient alone isn't larger.
type limits struct {
	first int // bytes: small, so that communication begins early
	rest  int
}

// of is the limit of bucket i.
func (l limits) of(i int) int {
	if i == 0 {
		return l.first
	}
	return l.rest
}

func newBuckets(params []Tensor, order []int, l limits, m memory) (*buckets, error) {
	if len(order) != len(params) {
		return nil, fmt.Errorf("the backward pass makes %d gradients for %d parameters", len(order), len(params))
	}
	b := &buckets{of: make([]int, len(params)), grads: make([]Tensor, len(params)), memory: m}
	var sizes []int // in elements
	for _, p := range order {
		n := params[p].Data.Len()
		last := len(sizes) - 1
		if last < 0 || (sizes[last]+n)*4 > l.of(last) {
			sizes = append(sizes, 0)
			b.list = append(b.list, bucket{name: params[p].Name})
			last++
		}
		b.of[p] = last
		sizes[last] += n
		b.list[last].left++
	}
	if len(sizes) == 0 {
		return nil, fmt.Errorf("the model has no parameters")
	}
	sizes[len(sizes)-1]++
	for i := range b.list {
		p, err := m.Alloc(sizes[i] * 4)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("bucket %d of %d bytes: %w", i, sizes[i]*4, err), b.free())
		}
		b.list[i].memory = p
		b.list[i].data = kernels.As[float32](kernels.Vector{Type: kernels.Float32, Bytes: p[:sizes[i]*4]})
	}
	at := make([]int, len(sizes))
	for _, p := range order {
		k, n := b.of[p], params[p].Data.Len()
		b.grads[p] = Tensor{Name: params[p].Name, Shape: params[p].Shape, Data: kernels.Of(b.list[k].data[at[k] : at[k]+n])}
		at[k] += n
	}
	last := b.list[len(b.list)-1].data
	b.loss = &last[len(last)-1]
	return b, nil
}

// free gives the memory back, once.
func (b *buckets) free() error {
	var errs []error
	for i := range b.list {
		if k := &b.list[i]; k.memory != nil {
			errs = append(errs, b.memory.Free(k.memory))
			k.memory, k.data = nil, nil
		}
	}
	b.grads, b.loss = nil, nil
	return errors.Join(errs...)
}

// begin readies the buckets for a step.
func (b *buckets) begin() {
	for i := range b.list {
		b.list[i].pending = b.list[i].left
	}
	*b.loss = 0
}

// add takes over a gradient: the first of a step replaces, later ones accumulate.
func (b *buckets) add(param int, grad []float32, first bool) {
	dst := kernels.As[float32](b.grads[param].Data)
	if first {
		copy(dst, grad)
		return
	}
	kernels.Fold(kernels.Sum, kernels.Float32, b.grads[param].Data.Bytes, kernels.Of(grad).Bytes)
}

// full notes that a parameter's gradient is final and returns its bucket once that is
// complete, else -1.
func (b *buckets) full(param int) int {
	k := b.of[param]
	b.list[k].pending--
	if b.list[k].pending > 0 {
		return -1
	}
	return k
}
