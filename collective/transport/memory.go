package transport

import (
	"fmt"
	"os"
	"unsafe"
)

// Pages returns zeroed memory that starts at a page, which is what Alloc gives where peers
// cannot reach it anyway.
func Pages(bytes int) ([]byte, error) {
	if bytes < 0 {
		return nil, fmt.Errorf("cannot allocate %d bytes", bytes)
	}
	page := os.Getpagesize()
	b := make([]byte, bytes+page-1)
	skip := 0
	if off := int(uintptr(unsafe.Pointer(unsafe.SliceData(b))) % uintptr(page)); off != 0 {
		skip = page - off
	}
	return b[skip : skip+bytes : skip+bytes], nil
}
