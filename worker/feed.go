package worker

import (
	"fmt"

	"github.com/gorun-ml/gorun/kernels"
)

// Row fills one row of each of the model's inputs from a sample of the data set.
type Row func(sample int, inputs ...[]float32) error

// feed puts samples into a model's inputs.
type feed struct {
	mask   []float32
	inputs []matrix
	cells  [][]float32 // one row of each input, handed to a Row
}

type matrix struct {
	data  []float32
	width int
}

// newFeed takes the inputs as they are compiled now.
func newFeed(m Model) (*feed, error) {
	f := &feed{mask: m.Mask()}
	for _, in := range m.Inputs() {
		if in.Data.Type != kernels.Float32 || m.Rows() == 0 || in.Data.Len()%m.Rows() != 0 {
			return nil, fmt.Errorf("input %s: %v%v is not %d rows of float32", in.Name, in.Data.Type, in.Shape, m.Rows())
		}
		f.inputs = append(f.inputs, matrix{kernels.As[float32](in.Data), in.Data.Len() / m.Rows()})
	}
	f.cells = make([][]float32, len(f.inputs))
	return f, nil
}

// fill reads samples, at most one a row, and masks the rows that are left.
func (f *feed) fill(samples []int, read Row) error {
	for i := range f.mask {
		for k, in := range f.inputs {
			f.cells[k] = in.data[i*in.width : (i+1)*in.width : (i+1)*in.width]
		}
		if i >= len(samples) {
			f.mask[i] = 0
			for _, c := range f.cells {
				clear(c)
			}
			continue
		}
		f.mask[i] = 1
		if err := read(samples[i], f.cells...); err != nil {
			return fmt.Errorf("sample %d: %w", samples[i], err)
		}
	}
	return nil
}
