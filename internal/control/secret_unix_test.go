//go:build unix

package control

import (
	"os"
	"strings"
	"syscall"
	"testing"
)

// dup makes a descriptor that nobody but the caller knows of, as an inherited one is.
func dup(f *os.File) (int, error) { return syscall.Dup(int(f.Fd())) }

func TestReadSecret(t *testing.T) {
	want := [SecretBytes]byte{1, 2, 3, 31: 9}
	pass := func(data []byte) int {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
		_ = w.Close()
		fd, err := dup(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Close()
		return fd
	}
	got, err := ReadSecret(pass(want[:]))
	if err != nil || got != want {
		t.Errorf("read %x (%v)", got, err)
	}
	for _, x := range []struct {
		fd   int
		want string
	}{
		{pass(want[:31]), "has 31 bytes, want 32"},
		{pass(append(want[:], 1)), "has over 32 bytes, want 32"},
		{pass(nil), "has 0 bytes"},
		{0, "GORUN_SECRET_FD=0"},
		{-1, "GORUN_SECRET_FD=-1"},
		{987654, "descriptor 987654"},
	} {
		if _, err := ReadSecret(x.fd); err == nil || !strings.Contains(err.Error(), x.want) || !strings.Contains(err.Error(), "start the program with gorun") {
			t.Errorf("descriptor %d: %v, want %q", x.fd, err, x.want)
		}
	}
}
