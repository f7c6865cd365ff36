//go:build !amd64

package gemm

func supported() []*level { return []*level{inGo} }

func (l *level) run(t *tile) { t.plain() }
