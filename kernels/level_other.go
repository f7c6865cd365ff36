//go:build !amd64

package kernels

func supported() []*level {
	portable := portable()
	return []*level{portable.finish()}
}
