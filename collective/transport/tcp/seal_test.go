package tcp

import (
	"bytes"
	"errors"
	"testing"

	"github.com/gorun-ml/gorun/collective/transport"
)

// halves are the two ends of one direction.
func halves(t testing.TB, secret string, most uint64) (out, in *sealed) {
	t.Helper()
	var ends [2]*sealed
	for i := range ends {
		h, err := newHalf([]byte(secret))
		if err != nil {
			t.Fatal(err)
		}
		h.most = most
		ends[i] = newSealed(h, h)
	}
	return ends[0], ends[1]
}

// record seals p alone.
func record(t testing.TB, s *sealed, p []byte) []byte {
	t.Helper()
	s.going = s.going[:0]
	if err := s.seal(p); err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(s.going)
}

// opened opens a record.
func opened(s *sealed, record []byte) ([]byte, error) {
	nonce, err := s.in.next()
	if err != nil {
		return nil, err
	}
	return s.in.aead.Open(nil, nonce, record[recordHead:], record[:recordHead])
}

// Keys are renewed on both sides after the same record, and no two records look alike.
func TestKeysAreRenewed(t *testing.T) {
	out, in := halves(t, "secret", 3)
	seen := map[string]bool{}
	keys := map[string]bool{}
	p := []byte("always the same")
	for i := range 20 {
		keys[string(out.out.secret)] = true
		r := record(t, out, p)
		if seen[string(r)] {
			t.Fatalf("record %d looks like one before", i)
		}
		seen[string(r)] = true
		if got, err := opened(in, r); err != nil || !bytes.Equal(got, p) {
			t.Fatalf("record %d: %q, %v", i, got, err)
		}
	}
	if len(keys) != 7 { // 20 records, 3 a key
		t.Errorf("%d keys were used for 20 records, want 7", len(keys))
	}
}

// Records that are repeated, left out, swapped, cut, or of another lane or direction are refused.
func TestRecordsHaveTheirPlace(t *testing.T) {
	for name, second := range map[string]func(a, b, c []byte) []byte{
		"repeated": func(a, _, _ []byte) []byte { return a },
		"left out": func(_, _, c []byte) []byte { return c },
		"cut":      func(_, b, _ []byte) []byte { return b[:len(b)-1] },
		"length":   func(_, b, _ []byte) []byte { b[0]++; return b },
		"other":    func(_, _, _ []byte) []byte { o, _ := halves(t, "another", 9); return record(t, o, []byte("b")) },
	} {
		out, in := halves(t, "secret", 9)
		a, b, c := record(t, out, []byte("a")), record(t, out, []byte("b")), record(t, out, []byte("c"))
		if _, err := opened(in, a); err != nil {
			t.Fatal(err)
		}
		if got, err := opened(in, second(a, b, c)); err == nil {
			t.Errorf("%s: %q is accepted", name, got)
		}
	}
}

// Two connections between the same ranks, and the directions of one, have keys of their own.
func TestLanesHaveTheirOwnKeys(t *testing.T) {
	_, meshes := flowing(t, secretly(testConfig()))
	secrets := map[string]bool{}
	for _, m := range meshes {
		for number := range 2 {
			conn, err := m.Conn(1-m.(*Mesh).self, number)
			if err != nil {
				t.Fatal(err)
			}
			secrets[string(conn.(*lane).sealed.out.secret)] = true
		}
	}
	if len(secrets) != 4 {
		t.Errorf("two lanes in two directions have %d keys, want 4", len(secrets))
	}
}

// FuzzRecord reads whatever comes as records: it never panics, takes no memory, and accepts
// nothing but what the other end has sealed.
func FuzzRecord(f *testing.F) {
	out, _ := halves(f, "secret", 9)
	p := noise(1, 100)
	whole := record(f, out, p)
	f.Add(whole)
	f.Add(whole[:50])
	f.Add([]byte{0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0x80})
	f.Add([]byte{0, 0, 1, 0, 0xff, 0xff, 0xfe, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		_, s := halves(t, "secret", 9)
		for len(data) > 0 {
			room := s.room(true, 1<<30, 0)
			if len(room) == 0 || len(room) > len(s.come) {
				t.Fatalf("room for %d bytes", len(room))
			}
			n := copy(room, data)
			s.to += n
			data = data[n:]
			n, err := s.whole()
			if err != nil {
				if !errors.Is(err, transport.ErrCorrupt) {
					t.Errorf("damage is told as %v", err)
				}
				return
			}
			if n > recordBytes {
				t.Fatalf("a record of %d bytes", n)
			}
			if n < 0 {
				continue
			}
			got, err := opened(s, s.come[s.from:s.from+recordHead+n+tagBytes])
			if err == nil && !bytes.Equal(got, p) {
				t.Errorf("%x is accepted", got)
			}
			return
		}
	})
}
