package kernels

import (
	"math"
	"testing"

	"github.com/x448/float16"
)

func TestF16RoundTrip(t *testing.T) {
	for bits := range 1 << 16 {
		x := F16(bits)
		wide, back := x.Float32(), ToF16(x.Float32())
		peer := float16.Frombits(uint16(bits))
		if peer.IsNaN() {
			// Both keep the sign and payload; ours is quiet.
			if wide == wide || back != x|0x200 {
				t.Fatalf("NaN %#04x became %v and then %#04x", bits, wide, back)
			}
			continue
		}
		if math.Float32bits(wide) != math.Float32bits(peer.Float32()) {
			t.Fatalf("%#04x is %v, want %v", bits, wide, peer.Float32())
		}
		if back != x {
			t.Fatalf("%#04x came back as %#04x", bits, back)
		}
	}
}

func TestBF16RoundTrip(t *testing.T) {
	for bits := range 1 << 16 {
		x := BF16(bits)
		wide, back := x.Float32(), ToBF16(x.Float32())
		if math.Float32bits(wide) != uint32(bits)<<16 {
			t.Fatalf("%#04x is %#08x", bits, math.Float32bits(wide))
		}
		want := x
		if wide != wide {
			want |= 0x40
		}
		if back != want {
			t.Fatalf("%#04x came back as %#04x, want %#04x", bits, back, want)
		}
	}
}

// Four million float32s, spread evenly over all there are.
func TestToF16LikePeer(t *testing.T) {
	for bits := uint64(0); bits < 1<<32; bits += 1021 {
		x := math.Float32frombits(uint32(bits))
		if got, want := ToF16(x), float16.Fromfloat32(x).Bits(); uint16(got) != want {
			t.Fatalf("%#08x (%v) is %#04x, want %#04x", bits, x, got, want)
		}
	}
}
