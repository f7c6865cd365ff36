package bench

import (
	"fmt"
	"strconv"
	"strings"
)

// ParseSizes reads 4,64K,16M: bytes, in multiples of a float32.
func ParseSizes(list string) ([]int, error) {
	var sizes []int
	for _, text := range strings.Split(list, ",") {
		digits, shift := text, 0
		switch {
		case strings.HasSuffix(strings.ToUpper(text), "K"):
			digits, shift = text[:len(text)-1], 10
		case strings.HasSuffix(strings.ToUpper(text), "M"):
			digits, shift = text[:len(text)-1], 20
		}
		n, err := strconv.Atoi(digits)
		if err != nil || n < 1 || n > 1<<(40-shift) || n<<shift%4 != 0 {
			return nil, fmt.Errorf("-s %s: %q is not a size: a multiple of 4 bytes, such as 4, 64K or 16M", list, text)
		}
		sizes = append(sizes, n<<shift)
	}
	return sizes, nil
}

// sizeText is bytes as people write them.
func sizeText(bytes int) string {
	switch {
	case bytes >= 1<<20 && bytes%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", bytes>>20)
	case bytes >= 1<<10 && bytes%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", bytes>>10)
	}
	return fmt.Sprintf("%d B", bytes)
}
