package tcp

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/internal/pinned"
	"github.com/gorun-ml/gorun/internal/wiretap"
)

func secretly(c Config) Config {
	c.Encrypt = true
	return c
}

// Whoever listens in between two ranks reads what they send, what they say, and why they
// give up; of ranks that encrypt they read nothing.
func TestWhatCrosses(t *testing.T) {
	for name, encrypt := range map[string]bool{"plain": false, "encrypted": true} {
		t.Run(name, func(t *testing.T) {
			c := testConfig()
			c.Encrypt = encrypt
			copy(c.Secret[:], noise(9, len(c.Secret)))
			fabrics, peers := pair(t, c, c)
			tap, err := wiretap.Listen(fabrics[0].Addr()) // rank 1 dials
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { tap.Close() })
			peers[0].Addr = tap.Addr()
			meshes, errs := joinBoth(t, 20*time.Second, 1, fabrics, peers)
			if err := errors.Join(errs...); err != nil {
				t.Fatal(err)
			}
			var ends [2]transport.Conn
			for rank, m := range meshes {
				if ends[rank], err = m.Conn(1-rank, 0); err != nil {
					t.Fatal(err)
				}
			}
			small, large := noise(1, 2000), noise(2, 3<<20)
			for i, p := range [][]byte{small, large, small, large} {
				sent := make(chan error, 1)
				go func() { sent <- ends[i/2].Send(transport.Tag{}, p) }()
				got := make([]byte, len(p))
				if err := errors.Join(ends[1-i/2].Recv(transport.Tag{}, got, nil), <-sent); err != nil || !bytes.Equal(got, p) {
					t.Fatalf("frame %d is not what was sent: %v", i, err)
				}
			}
			meshes[0].Close(errors.New("the word that rank 0 gives up with"))
			<-meshes[1].(*Mesh).Done()
			if err := meshes[1].(*Mesh).Err(); !strings.Contains(err.Error(), "the word that rank 0") {
				t.Errorf("rank 1 ends with %v", err)
			}
			meshes[1].Close(nil)
			tap.Close()

			if tap.Bytes() < 2*(len(small)+len(large)) {
				t.Fatalf("only %d bytes were heard", tap.Bytes())
			}
			for what, p := range map[string][]byte{
				"a small frame": small[100:116], "the begin of a large one": large[:16],
				"its middle": large[1<<20:][:16], "its end": large[len(large)-16:],
				"an abort": []byte("the word that rank 0"), "the greeting": []byte(greeting), "the version": []byte("v1\x00\x00"),
			} {
				if tap.Heard(p) == encrypt {
					t.Errorf("%s was heard: %v, want %v", what, !encrypt, encrypt)
				}
			}
			if tap.Heard(c.Secret[:8]) || tap.Heard(fabrics[0].key[:8]) {
				t.Error("the secret was heard")
			}
		})
	}
}

// A rank that encrypts and one that does not find out at once, whoever dials.
func TestMixedEncryption(t *testing.T) {
	for name, c := range map[string]struct {
		configs [2]Config
		want    string // of rank 1, which dials
	}{
		"the dialer alone":   {[2]Config{testConfig(), secretly(testConfig())}, errWeEncrypt.Error()},
		"the acceptor alone": {[2]Config{secretly(testConfig()), testConfig()}, errTheyEncrypt.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			fabrics, peers := pair(t, c.configs[0], c.configs[1])
			errs := joinApart(t, fabrics, peers)
			if err := errs[1]; !errors.Is(err, transport.ErrVersion) || !strings.HasSuffix(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("the dialer ends with %v, want %q", err, c.want)
			}
			// The acceptor, whose peer has proved nothing, waits; it knows whom it turned away.
			if err := errs[0]; !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "--encrypt") {
				t.Errorf("the acceptor ends with %v, want that it says what is wrong", err)
			}
		})
	}
}

// Whoever has no key, or that of another job, is sent away before anything is said, and so
// is who replays what was said to someone else.
func TestStrangersOfAnEncryptedJob(t *testing.T) {
	c := secretly(testConfig())
	c.Handshake = 10 * time.Second
	refused := make(chan error, 1)
	c.Refused = func(_ net.Addr, why error) { refused <- why }
	f := listen(t, c)
	other := pinned.New(make([]byte, 32), tlsProtocol)
	for name, client := range map[string]*tls.Config{
		"another key":      other.Client,
		"no certificate":   {InsecureSkipVerify: true, NextProtos: []string{tlsProtocol}},
		"another protocol": pinned.New(expand(f.key, nil, "gorun data connection TLS"), "gorun-data-0").Client,
	} {
		raw, err := net.Dial("tcp", f.Addr())
		if err != nil {
			t.Fatal(err)
		}
		client = client.Clone()
		client.VerifyConnection = nil // a stranger takes anyone for the other rank
		s := tls.Client(raw, client)
		if s.Handshake() == nil {
			h := hello{gen: 1, from: 1, lane: controlLane, version: "v1"}
			if _, _, err := greet(s, f.key, h); err == nil {
				t.Errorf("%s: the stranger is greeted", name)
			}
		}
		if why := <-refused; why == nil {
			t.Errorf("%s: turned away without a reason", name)
		}
		raw.Close()
	}
}

// An encrypted handshake gives its reader nothing of what follows it.
func TestRecordsEndWithTheHandshake(t *testing.T) {
	a, b := net.Pipe()
	go func() {
		b.Write([]byte("\x16\x03\x01\x00\x03abc\x17\x03\x03\x00\x00\x17\x03\x03\x00\x05defghbeyond"))
		b.Close()
	}()
	r := &records{Conn: a, from: recordHeader}
	var got []byte
	for len(got) < 8+5+10 {
		p := make([]byte, 4096)
		n, err := r.Read(p)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, p[:n]...)
	}
	if rest, err := io.ReadAll(a); string(rest) != "beyond" || err != nil {
		t.Errorf("%q and then %q, %v", got, rest, err)
	}
}
