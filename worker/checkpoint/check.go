package checkpoint

import (
	"fmt"
	"slices"
)

// Check says whether got, from a checkpoint, has just the tensors of want. The error names
// the first that differs and wraps ErrMismatch.
func Check(want, got []Tensor) error {
	_, err := match(want, got)
	return err
}

// Restore copies the data of got, from a checkpoint, into the tensors of want. Either all
// fit and are copied, or nothing is, as Check says.
func Restore(want, got []Tensor) error {
	pairs, err := match(want, got)
	if err != nil {
		return err
	}
	for i, j := range pairs {
		copy(want[i].Data.Bytes, got[j].Data.Bytes)
	}
	return nil
}

// match gives for each tensor of want the index in got of the one with its name.
func match(want, got []Tensor) (pairs []int, err error) {
	index := make(map[string]int, len(got))
	for j, t := range got {
		index[t.Name] = j
	}
	for _, t := range want {
		j, ok := index[t.Name]
		if !ok {
			return nil, fmt.Errorf("tensor %q, %s %v here, isn't in the checkpoint: %w", t.Name, t.Data.Type, t.Shape, ErrMismatch)
		}
		if o := got[j]; o.Data.Type != t.Data.Type || !slices.Equal(o.Shape, t.Shape) {
			return nil, fmt.Errorf("tensor %q is %s %v here, %s %v in the checkpoint: %w", t.Name, t.Data.Type, t.Shape, o.Data.Type, o.Shape, ErrMismatch)
		}
		delete(index, t.Name)
		pairs = append(pairs, j)
	}
	for _, t := range got {
		if _, left := index[t.Name]; left {
			return nil, fmt.Errorf("tensor %q, %s %v in the checkpoint, isn't here: %w", t.Name, t.Data.Type, t.Shape, ErrMismatch)
		}
	}
	return pairs, nil
}
