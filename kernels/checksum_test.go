package kernels

import (
	"hash/crc32"
	"math/rand/v2"
	"testing"
)

// RFC 3720, appendix B.4.
func TestCRC32COfKnownVectors(t *testing.T) {
	ascending := make([]byte, 32)
	for i := range ascending {
		ascending[i] = byte(i)
	}
	for _, x := range []struct {
		p    []byte
		want uint32
	}{
		{make([]byte, 32), 0x8a9136aa},
		{ascending, 0x46dd794e},
		{[]byte("123456789"), 0xe3069283},
		{nil, 0},
	} {
		if got := CRC32C(0, x.p); got != x.want {
			t.Errorf("checksum of %x is %#x, want %#x", x.p, got, x.want)
		}
	}
}

// All lengths around the vectors', all alignments, from any beginning.
func TestCRC32CIsTheLibrarys(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 1<<16)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	for _, l := range levels {
		check := func(crc uint32, p []byte) {
			t.Helper()
			if got, want := l.checksum(crc, p), crc32.Update(crc, castagnoli, p); got != want {
				t.Fatalf("%s: checksum of %d bytes after %#x is %#x, want %#x", l.name, len(p), crc, got, want)
			}
		}
		for n := range 1100 {
			check(r.Uint32(), data[n%67:n%67+n])
		}
		for range 2000 {
			at := r.IntN(len(data))
			check(r.Uint32(), data[at:at+r.IntN(len(data)-at)])
		}
		check(0, data)
	}
}

func FuzzCRC32C(f *testing.F) {
	f.Add(uint32(0), []byte("123456789"), uint16(40))
	f.Fuzz(func(t *testing.T, crc uint32, p []byte, times uint16) {
		for len(p) > 0 && len(p) < int(times) {
			p = append(p, p...)
		}
		for _, l := range levels {
			if got, want := l.checksum(crc, p), crc32.Update(crc, castagnoli, p); got != want {
				t.Fatalf("%s: checksum of %d bytes after %#x is %#x, want %#x", l.name, len(p), crc, got, want)
			}
		}
	})
}

func BenchmarkCRC32C(b *testing.B) {
	p := make([]byte, 128<<10)
	for _, l := range levels {
		b.Run(l.name, func(b *testing.B) {
			b.SetBytes(int64(len(p)))
			for b.Loop() {
				l.checksum(0, p)
			}
		})
	}
}
