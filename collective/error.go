package collective

import (
	"fmt"
	"strings"

	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/kernels"
)

// Error is the failure of an operation.
type Error struct {
	Operation string // all-reduce 17
	Name      string // what the caller calls it: bucket conv2.w; may be empty
	Step      int    // of this rank's plan; -1 if it failed outside of a step
	Err       error  // the first cause

	detail string // 64 KiB float32 sum
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Operation)
	switch {
	case e.Name != "" && e.detail != "":
		fmt.Fprintf(&b, " (%s, %s)", e.Name, e.detail)
	case e.Name != "" || e.detail != "":
		fmt.Fprintf(&b, " (%s)", e.Name+e.detail)
	}
	if e.Step >= 0 {
		fmt.Fprintf(&b, ": step %d", e.Step)
	}
	fmt.Fprintf(&b, ": %v", e.Err)
	return b.String()
}

// Unwrap returns the first cause.
func (e *Error) Unwrap() error { return e.Err }

// detail is an operation's size, type and reduction for an error text.
func detail(t transport.Tag) string {
	ty := kernels.Type(t.Type)
	if ty < kernels.Float32 || ty > kernels.Uint8 {
		return ""
	}
	words := []string{ty.String()}
	if kind(t.Kind) != allToAllV {
		words = []string{size(sizeOf(t)), ty.String()}
	}
	if op := kernels.Op(t.Op); op >= kernels.Sum && op <= kernels.Average {
		words = append(words, op.String())
	}
	if kind(t.Kind).rooted() {
		words = append(words, fmt.Sprintf("root %d", t.Root))
	}
	return strings.Join(words, " ")
}

// size is a number of bytes for people.
func size(bytes uint64) string {
	const units = "KMGTPE"
	if bytes < 1<<10 {
		return fmt.Sprintf("%d B", bytes)
	}
	v, unit := float64(bytes)/(1<<10), 0
	for v >= 1<<10 {
		v /= 1 << 10
		unit++
	}
	return fmt.Sprintf("%.4g %ciB", v, units[unit])
}
