//go:build !race

package cluster

// raced is whether the race detector slows everything down.
const raced = false
