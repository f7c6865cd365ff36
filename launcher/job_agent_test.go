package launcher

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/gorun-ml/gorun/internal/control"
)

func FuzzLetter(f *testing.F) {
	good, err := json.Marshal(letter{Job: "7f3a", Host: "h2", Broker: "127.0.0.1:1", Secret: make([]byte, control.SecretBytes), Version: "v"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(good, "\nrest"...))
	f.Add([]byte("{}\n"))
	f.Add([]byte("\n"))
	f.Add(bytes.Repeat([]byte("x"), letterBytes+1))
	f.Fuzz(func(t *testing.T, in []byte) {
		l, rest, err := readLetter(bytes.NewReader(in))
		if err != nil {
			if strings.ContainsRune(err.Error(), '\n') {
				t.Errorf("%q: more than one line", err)
			}
			return
		}
		if len(l.Secret) != control.SecretBytes || l.Host == "" {
			t.Errorf("took %+v", l)
		}
		left, err := io.ReadAll(rest)
		if _, after, _ := bytes.Cut(in, []byte("\n")); err != nil || !bytes.Equal(left, after) {
			t.Errorf("left %q and %v, want %q", left, err, after)
		}
	})
}

func TestALetterThatDoesNotComeIsNotWaitedForForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		defer func() { _ = w.Close() }() // so that the reader ends
		var said bytes.Buffer
		if status := (JobAgent{Version: "v", In: r, Out: io.Discard, Err: &said}).Run(); status != control.StatusTemporary || !strings.Contains(said.String(), "no letter from a launcher on standard input within 10s") {
			t.Errorf("status %d, %q", status, said.String())
		}
	})
}

func TestARouteToThisHost(t *testing.T) {
	if own, err := routeTo("127.0.0.1:9"); err != nil || own != "127.0.0.1" {
		t.Errorf("loopback is reached from %s (%v)", own, err)
	}
	ports, err := freePortsOn("127.0.0.1", 3)
	if err != nil || len(ports) != 3 || ports[0] == ports[1] {
		t.Errorf("free ports %v, %v", ports, err)
	}
}
