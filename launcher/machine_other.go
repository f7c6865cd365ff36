//go:build unix && !linux

package launcher

import "runtime"

func thisMachine() machine { return machine{cores: runtime.GOMAXPROCS(0)} }

func totalMemory() uint64 { return 0 }

func meminfo(string) uint64 { return 0 }

// limits is not known here.
func (h *Health) limits() {}
