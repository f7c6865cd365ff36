//go:build !race

package topology

// raceEnabled says that the race detector slows this run down.
const raceEnabled = false
