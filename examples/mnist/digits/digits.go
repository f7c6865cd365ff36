// Package digits is MNIST as a training program wants it: images as rows of numbers from
// 0 to 1, labels one-hot. The pixels stay bytes in memory; a row is converted when it is
// read.
package digits

import (
	"fmt"

	"github.com/gorun-ml/gorun/worker/idx"
)

// Classes is how many labels there are.
const Classes = 10

// Set is images and their labels.
type Set struct{ images, labels idx.Array }

// Open reads a set from two IDX files of one length. A digest that isn't empty is the
// file's SHA-256.
func Open(images, labels File) (Set, error) {
	var s Set
	var err error
	if s.images, err = idx.Open(images.Path, images.Digest); err != nil {
		return Set{}, err
	}
	if s.labels, err = idx.Open(labels.Path, labels.Digest); err != nil {
		return Set{}, err
	}
	if s.images.Type != idx.Uint8 || len(s.images.Shape) < 2 {
		return Set{}, fmt.Errorf("data file %s: has %v of shape %v, want images of uint8", images.Path, s.images.Type, s.images.Shape)
	}
	if s.labels.Type != idx.Uint8 || len(s.labels.Shape) != 1 || s.labels.Len() != s.images.Len() {
		return Set{}, fmt.Errorf("data file %s: has %v of shape %v, want uint8 of shape [%d], one label for each image of %s",
			labels.Path, s.labels.Type, s.labels.Shape, s.images.Len(), images.Path)
	}
	for i, label := range s.labels.Bytes {
		if label >= Classes {
			return Set{}, fmt.Errorf("data file %s: label %d is %d, want 0 to %d", labels.Path, i, label, Classes-1)
		}
	}
	return s, nil
}

// Len is the number of images.
func (s Set) Len() int { return s.images.Len() }

// Pixels is the number of pixels of an image.
func (s Set) Pixels() int { return len(s.images.Item(0)) }

// Label is the digit that image sample shows.
func (s Set) Label(sample int) int { return int(s.labels.Bytes[sample]) }

// Row fills in sample: inputs[0] is its pixels, inputs[1] its label as ten numbers of
// which one is 1.
func (s Set) Row(sample int, inputs ...[]float32) error {
	pixels := s.images.Item(sample)
	if len(inputs) != 2 || len(inputs[0]) != len(pixels) || len(inputs[1]) != Classes {
		return fmt.Errorf("a digit fills inputs of %d pixels and %d classes: the model has others", len(pixels), Classes)
	}
	for i, p := range pixels {
		inputs[0][i] = float32(p) / 255
	}
	clear(inputs[1])
	inputs[1][s.Label(sample)] = 1
	return nil
}

// Right is 1 if the largest of a sample's ten outputs is its label's, else 0.
func (s Set) Right(sample int, output []float32) float64 {
	best := 0
	for i, v := range output {
		if v > output[best] {
			best = i
		}
	}
	if best == s.Label(sample) {
		return 1
	}
	return 0
}
