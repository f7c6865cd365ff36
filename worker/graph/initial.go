package graph

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// GlorotUniform draws from ±√(6/(in+out)), for layers without or with a symmetric
// activation (Glorot and Bengio 2010). The numbers depend on the seed and the parameter's
// name only: they are the same on every rank and in every run, unlike gorgonia's own
// initialisers', which ask the clock.
func GlorotUniform(seed uint64, name string) G.InitWFn {
	return func(dt tensor.Dtype, shape ...int) any {
		in, out := fans(shape)
		limit := math.Sqrt(6 / float64(in+out))
		random := source(seed, name)
		return fill(dt, shape, func() float64 { return (2*random.Float64() - 1) * limit })
	}
}

// HeNormal draws from a normal distribution of deviation √(2/in), for layers that end in
// a ReLU (He et al. 2015), keyed like GlorotUniform.
func HeNormal(seed uint64, name string) G.InitWFn {
	return func(dt tensor.Dtype, shape ...int) any {
		in, _ := fans(shape)
		deviation := math.Sqrt(2 / float64(in))
		random := source(seed, name)
		return fill(dt, shape, func() float64 { return random.NormFloat64() * deviation })
	}
}

// Zeros starts with zeros, as biases do.
func Zeros() G.InitWFn { return Fill(0) }

// Fill starts with one value everywhere.
func Fill(x float64) G.InitWFn {
	return func(dt tensor.Dtype, shape ...int) any { return fill(dt, shape, func() float64 { return x }) }
}

func source(seed uint64, name string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(name))
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}

// fans counts the connections of one unit. Matrices are in × out, filters are
// out × in × height × width.
func fans(shape []int) (in, out int) {
	switch len(shape) {
	case 0:
		return 1, 1
	case 1:
		return shape[0], shape[0]
	case 2:
		return shape[0], shape[1]
	}
	field := tensor.Shape(shape[2:]).TotalSize()
	return shape[1] * field, shape[0] * field
}

func fill(dt tensor.Dtype, shape []int, next func() float64) any {
	size := tensor.Shape(shape).TotalSize()
	switch dt {
	case tensor.Float32:
		data := make([]float32, size)
		for i := range data {
			data[i] = float32(next())
		}
		return data
	case tensor.Float64:
		data := make([]float64, size)
		for i := range data {
			data[i] = next()
		}
		return data
	}
	panic(fmt.Sprintf("initial values of type %v: only float32 and float64 are supported", dt))
}
