package control

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// What a job does about a loss or a gradient that is not finite.
const (
	OnNaNStop    = "stop"    // it ends
	OnNaNSkip    = "skip"    // the step is left out, on all ranks
	OnNaNRestore = "restore" // all ranks go back to the newest checkpoint
)

// OnNaNs are the values of Guards.OnNaN.
func OnNaNs() []string { return []string{OnNaNStop, OnNaNSkip, OnNaNRestore} }

// DefaultVerifyEvery is in how many steps ranks compare all that they hold. An optimizer
// reads and writes all of it in each step, so that a hundredth more to read is less than a
// hundredth of a step.
const DefaultVerifyEvery = 100

// Guards is what is done against training that goes wrong without a death.
type Guards struct {
	OnNaN       string // one of OnNaNs; "" for stop
	VerifyEvery int    // steps in which ranks compare the whole of their state; 0: never
}

func (g Guards) environ() []string {
	return []string{"GORUN_ON_NAN=" + cmp.Or(g.OnNaN, OnNaNStop), "GORUN_VERIFY_EVERY=" + strconv.Itoa(g.VerifyEvery)}
}

// ParseGuards reads guards from an environment, which may be set by hand where gorun did not
// start the process.
func ParseGuards(lookup func(string) (string, bool)) (Guards, error) {
	g := Guards{OnNaN: OnNaNStop, VerifyEvery: DefaultVerifyEvery}
	if v, _ := lookup("GORUN_ON_NAN"); v != "" {
		g.OnNaN = v
	}
	if !slices.Contains(OnNaNs(), g.OnNaN) {
		return g, fmt.Errorf("GORUN_ON_NAN=%s: want one of %s", g.OnNaN, strings.Join(OnNaNs(), ", "))
	}
	if v, _ := lookup("GORUN_VERIFY_EVERY"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 {
			return g, fmt.Errorf("GORUN_VERIFY_EVERY=%s: want a number of steps, or 0 for never", v)
		}
		g.VerifyEvery = n
	}
	return g, nil
}
