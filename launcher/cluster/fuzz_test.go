package cluster

import (
	"bytes"
	"encoding/json"
	"io"
	"reflect"
	"testing"
)

func FuzzFrame(f *testing.F) {
	var seeds bytes.Buffer
	for _, m := range []any{
		request{Status: true},
		request{End: true},
		request{Start: &startRequest{Letter: []byte("{}"), Slots: 2, Digest: "ab", Version: "v1"}},
		answer{Refused: &refusal{Kind: "slots", Text: "no"}},
		answer{Ended: &ended{How: "status 1", Stderr: []string{"x"}}},
	} {
		seeds.Reset()
		_ = writeFrame(&seeds, m)
		f.Add(bytes.Clone(seeds.Bytes()))
	}
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0, 0, 0, 4, '{', '}'})
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = readFrame[answer](bytes.NewReader(data))
		r, err := readFrame[request](bytes.NewReader(data))
		if err == io.EOF && len(data) > 0 {
			t.Fatalf("%d bytes were taken for none", len(data))
		}
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := writeFrame(&again, r); err != nil {
			t.Skip("longer when written anew")
		}
		if back, err := readFrame[request](&again); err != nil || !reflect.DeepEqual(back, r) {
			t.Fatalf("%+v came back as %+v (%v)", r, back, err)
		}
	})
}

func FuzzOffer(f *testing.F) {
	o := options("h1", "127.0.0.1")
	seed, err := o.offer(7947).encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte(`{"p":1,"s":1,"g":[{"n":"x","x":1000000000}]}`))
	f.Add([]byte(`{"p":1,"s":1,"l":{"a b":"\u0000"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := decodeOffer(data)
		if err != nil {
			return
		}
		h := o.info("h1", "127.0.0.1:7946")
		if len(h.GPUs) > maxGPUs || h.Free > h.Slots || h.Slots < 1 {
			t.Fatalf("accepted %+v", h)
		}
		if _, err := json.Marshal(h); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzAddr(f *testing.F) {
	for _, s := range []string{"h1", "h1:7946", "[::1]:7946", "::1", "127.0.0.1:0", ":7946", "h1:", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if host, port, err := splitAddr(s); err == nil && (host == "" || port < 1 || port > 65534) {
			t.Fatalf("%q is %q, port %d", s, host, port)
		}
	})
}

func FuzzLabel(f *testing.F) {
	for _, s := range []string{"rack=3", "a=", "=b", "x", "a=b=c", "a b=c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if k, v, err := ParseLabel(s); err == nil && k+"="+v != s {
			t.Fatalf("%q is %q=%q", s, k, v)
		}
	})
}
