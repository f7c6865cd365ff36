// Package checkpoint keeps a job's state on disk so that what is read back is either
// exactly what was written or refused.
//
// A checkpoint is a folder of two files, which appears by one rename after everything in
// it has reached the disk:
//
//	step-000000120/
//	  model.safetensors   the tensors
//	  manifest.json       whose they are, and the SHA-256 of every file
//
// Whatever kills a writer, at any byte, the newest folder that verifies is the previous
// checkpoint or the new one.
package checkpoint

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/gorun-ml/gorun/kernels"
)

// Tensor is named memory. Data is the elements in row-major order.
type Tensor struct {
	Name  string
	Shape []int
	Data  kernels.Vector
}

// Meta says where in a job's life a checkpoint was taken.
type Meta struct {
	Job         string
	Generation  uint64
	Step, Epoch int
	Seed        uint64
	Model       string // digest of the model's names, shapes and types
	Extra       map[string]string
}

// What callers branch on. Errors of reading wrap one of these or, where the disk itself
// failed, an *IOError; errors of writing wrap an *IOError or the context's cause.
var (
	// ErrNone means that a folder holds no checkpoint at all.
	ErrNone = errors.New("no checkpoint")
	// ErrDamaged means that a file isn't what its writer wrote.
	ErrDamaged = errors.New("altered or torn")
	// ErrNewer means that a checkpoint has a format that this program does not know yet.
	ErrNewer = errors.New("written by a newer gorun")
	// ErrMismatch means that tensors aren't those of the model at hand.
	ErrMismatch = errors.New("from another model")
)

// IOError is a disk that failed or refused.
type IOError struct {
	What  string // what was being done: "checkpoint of step 120 in /data/run"
	Bytes int64  // what a write needed in all
	Err   error
}

// Error says what failed and, where the disk is full, how much room is needed.
func (e *IOError) Error() string {
	if errors.Is(e.Err, syscall.ENOSPC) || errors.Is(e.Err, syscall.EDQUOT) {
		return fmt.Sprintf("%s needs %d bytes: %v: free some or choose another folder", e.What, e.Bytes, e.Err)
	}
	return fmt.Sprintf("%s: %v", e.What, e.Err)
}

// Unwrap is the disk's own error.
func (e *IOError) Unwrap() error { return e.Err }
