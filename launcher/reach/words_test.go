package reach

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestWords(t *testing.T) {
	long := strings.Repeat("x", 3*lineBytes)
	many := strings.Repeat("no\n", 1000)
	for _, c := range []struct {
		name   string
		writes []string
		want   string
	}{
		{"nothing", nil, ""},
		{"empty lines", []string{"\n\r\n \n"}, ""},
		{"a line", []string{"no route\n"}, "no route"},
		{"the last of several", []string{"one\ntwo\nthree\n"}, "three"},
		{"no newline", []string{"one\ntwo"}, "two"},
		{"in pieces", []string{"no ", "ro", "ute", "\n", "\n"}, "no route"},
		{"Windows' ends", []string{"one\r\ntwo\r\n"}, "two"},
		{"a long line", []string{long + "\n"}, long[:lineBytes]},
		{"a long line in pieces", []string{long[:lineBytes-1], long, long}, long[:lineBytes]},
		{"after a long line", []string{long + long, "\nend\n"}, "end"},
		{"many", []string{many, "end"}, "end"},
		{"not UTF-8", []string{"a\xff\xfeb\n"}, "a?b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWords()
			for _, text := range c.writes {
				if n, err := w.Write([]byte(text)); n != len(text) || err != nil {
					t.Errorf("Write of %d bytes: %d, %v", len(text), n, err)
				}
			}
			if got := w.reason(); got != c.want {
				t.Errorf("reason is %.40q, want %.40q", got, c.want)
			}
			if len(w.last) > lastLines {
				t.Errorf("%d lines are kept, want %d at most", len(w.last), lastLines)
			}
		})
	}
}

// How a text is cut into writes makes no difference, and what is kept is bounded.
func FuzzWords(f *testing.F) {
	f.Add([]byte("one\ntwo\r\n\nthree"), 3)
	f.Add([]byte("\xff\n\n\xc3\xa9 \n"), 1)
	f.Add([]byte(strings.Repeat("x", 2*lineBytes)+"\nend"), 100)
	f.Fuzz(func(t *testing.T, text []byte, size int) {
		whole, pieces := newWords(), newWords()
		if n, err := whole.Write(text); n != len(text) || err != nil {
			t.Fatalf("Write of %d bytes: %d, %v", len(text), n, err)
		}
		for piece := range slices.Chunk(text, max(1, size)) {
			_, _ = pieces.Write(piece) // never fails
		}
		got, want := pieces.reason(), whole.reason()
		if got != want {
			t.Errorf("reason is %q in pieces of %d, %q as a whole", got, size, want)
		}
		if len(whole.last) > lastLines || len(got) > lineBytes || strings.Contains(got, "\n") || !utf8.ValidString(got) {
			t.Errorf("%d lines, the last of %d bytes: %q", len(whole.last), len(got), got)
		}
	})
}

func TestRunsHere(t *testing.T) {
	own := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
	other := map[string]string{"amd64": "aarch64", "arm64": "x86_64"}[runtime.GOARCH]
	if own == "" {
		t.Skipf("no name for %s", runtime.GOARCH)
	}
	system := strings.ToUpper(runtime.GOOS[:1]) + runtime.GOOS[1:]
	for platform, want := range map[string]bool{
		system + " " + own:            true,
		system + " " + runtime.GOARCH: true,
		system + " " + other:          false,
		"Plan9 " + own:                false,
		system:                        false,
		own:                           false,
		"":                            false,
		" ":                           false,
		system + " riscv64":           false,
		system + " " + own + " ":      false,
	} {
		if got := runsHere(platform); got != want {
			t.Errorf("runsHere(%q) is %v, want %v", platform, got, want)
		}
	}
}

func TestPlain(t *testing.T) {
	for said, want := range map[string]string{
		"root@h1: Permission denied (publickey).":                       "h1: ssh may not log in without a password (root@h1: Permission denied (publickey)): set up a key, for example with ssh-copy-id h1",
		"Host key verification failed.":                                 "h1: its host key is not the one that is known, or none is: log in once with ssh h1 and look at it",
		"ssh: Could not resolve hostname h1: Name or service not known": "h1: its name does not resolve: h1: Name or service not known",
		"ssh: connect to host h1 port 22: Connection refused":           "h1: connect to host h1 port 22: Connection refused",
		"kex_exchange_identification: Connection closed by remote host": "h1: kex_exchange_identification: Connection closed by remote host",
		"ssh_config: terminating, 1 bad configuration options found":    "h1: ssh_config: terminating, 1 bad configuration options found",
	} {
		_, err := newStage(t).ssh(said, "serves").Start(t.Context(), "h1", letter)
		if err == nil || err.Error() != want {
			t.Errorf("after %q: %v\nwant %s", said, err, want)
		}
	}
	other := errors.New("h1: else")
	if got := plain("h1", other); !errors.Is(got, other) {
		t.Errorf("plain changes %v to %v", other, got)
	}
	agents := fmt.Errorf("x: %w", &Failure{Host: "h1", Status: 69, Text: "ssh: Permission denied"})
	if got := plain("h1", agents); got.Error() != agents.Error() {
		t.Errorf("plain changes what an agent said to %v", got)
	}
}

func TestQuoted(t *testing.T) {
	for _, c := range []struct {
		words []string
		want  string
	}{
		{nil, ""},
		{[]string{"agent", "--job"}, "'agent' '--job'"},
		{[]string{"it's", "$HOME;`x`", ""}, `'it'\''s' '$HOME;` + "`x`" + `' ''`},
	} {
		if got := quoted(c.words); got != c.want {
			t.Errorf("quoted(%q) is %s, want %s", c.words, got, c.want)
		}
	}
}
