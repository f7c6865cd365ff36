package hosts

import (
	"regexp"
	"strings"
	"testing"
)

// A dumb version of what parseName may return: what is safe as an argument of ssh.
var (
	safeName = regexp.MustCompile(`^([A-Za-z0-9._][A-Za-z0-9._-]*@)?([A-Za-z0-9_][A-Za-z0-9._-]*|[0-9a-f.:]*:[0-9a-f.:]*(%[A-Za-z0-9._][A-Za-z0-9._-]*)?)$`)
	longName = 2*maxName + len("@")
)

func checkNames(t *testing.T, hosts []Host) {
	t.Helper()
	if len(hosts) > maxHosts {
		t.Errorf("%d hosts", len(hosts))
	}
	seen := make(map[string]bool)
	for _, h := range hosts {
		if !safeName.MatchString(h.Name) || len(h.Name) > longName {
			t.Errorf("unsafe name %q", h.Name)
		}
		if h.Slots < 0 || h.Slots > maxSlots {
			t.Errorf("%s has %d slots", h.Name, h.Slots)
		}
		if seen[identity(h.Name)] {
			t.Errorf("%s is there twice", h.Name)
		}
		seen[identity(h.Name)] = true
	}
}

// checkError wants one line that a terminal can bear.
func checkError(t *testing.T, err error) {
	t.Helper()
	if s := err.Error(); s == "" || len(s) > 1000 || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		t.Errorf("an error is not one short line: %q", s)
	}
}

func TestParseName(t *testing.T) {
	for text, want := range map[string]string{
		"h1":                            "h1",
		"H1.example.com":                "H1.example.com",
		"gpu_node-07":                   "gpu_node-07",
		"10.0.0.1":                      "10.0.0.1",
		"4a":                            "4a",
		"anna@h1":                       "anna@h1",
		"anna.b-c_d@10.0.0.1":           "anna.b-c_d@10.0.0.1",
		"[::1]":                         "::1",
		"[FE80:0::1%eth0]":              "fe80::1%eth0",
		"[::ffff:10.0.0.1]":             "::ffff:10.0.0.1",
		"anna@[2001:db8::1]":            "anna@2001:db8::1",
		strings.Repeat("a.", 126) + "a": strings.Repeat("a.", 126) + "a",
	} {
		if got, err := parseName(text); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                        "a host name is missing",
		"-oProxyCommand=x":        `a host name does not begin with "-"`,
		"anna@-v":                 `a host name does not begin with "-"`,
		"-lroot@h1":               `a user name does not begin with "-"`,
		"@h1":                     "a user name is missing",
		"anna@":                   "a host name is missing",
		"a@b@h1":                  `"@" does not belong in a host name`,
		"h 1":                     `" " does not belong in a host name`,
		"h1;reboot":               `";" does not belong in a host name`,
		"$(reboot)":               `"$" does not belong in a host name`,
		"`reboot`":                "\"`\" does not belong in a host name",
		"a|b@h1":                  `"|" does not belong in a user name`,
		"h1\n":                    `"\n" does not belong in a host name`,
		"\x1b[2J":                 `"\x1b" does not belong in a host name`,
		"h1\x00":                  `"\x00" does not belong in a host name`,
		"hö1":                     `"ö" does not belong in a host name`,
		"h1\xff":                  `"�" does not belong in a host name`,
		"../h1":                   `"/" does not belong in a host name`,
		"h*":                      `"*" does not belong in a host name`,
		".h1":                     `the part "" between dots is not that of a host name`,
		"h1..com":                 `the part "" between dots is not that of a host name`,
		"h1.-x":                   `the part "-x" between dots is not that of a host name`,
		"h1-":                     `the part "h1-" between dots is not that of a host name`,
		strings.Repeat("a", 64):   `the part "` + strings.Repeat("a", 64) + `" between dots is not that of a host name`,
		strings.Repeat("a.", 127): "a host name has at most 253 characters",
		"4":                       "is a number, want a host name or an IPv4 address",
		"10.0.0.256":              "is a number, want a host name or an IPv4 address",
		"h.1":                     "is a number, want a host name or an IPv4 address",
		"[::1":                    "want an IPv6 address between one [ and one ]",
		"[[::1]]":                 "want an IPv6 address between one [ and one ]",
		"[10.0.0.1]":              "want an IPv6 address between the brackets",
		"[h1]":                    "want an IPv6 address between the brackets",
		"[fe80::1%eth0;reboot]":   `";" does not belong in a zone`,
		"[fe80::1%-x]":            `a zone does not begin with "-"`,
	} {
		if got, err := parseName(text); err == nil || err.Error() != want || got != "" {
			t.Errorf("%q: %q, %v; want %s", text, got, err, want)
		}
	}
}

func TestShow(t *testing.T) {
	for text, want := range map[string]string{
		"h1:4 h2":                "h1:4 h2",
		"":                       `""`,
		"a\x1b[2J\n":             `"a\x1b[2J\n"`,
		"\xff":                   `"\xff"`,
		strings.Repeat("ä", 100): strings.Repeat("ä", 40) + "…",
	} {
		if got := show(text); got != want {
			t.Errorf("%q is shown as %s, want %s", text, got, want)
		}
	}
}
