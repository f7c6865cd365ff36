package hosts

import (
	"slices"
	"strings"
	"testing"
)

func TestParseList(t *testing.T) {
	for text, want := range map[string][]Host{
		"h1:4,h2:4":                 {{"h1", 4}, {"h2", 4}},
		"h1":                        {{"h1", 1}},
		"h1,h1,h2":                  {{"h1", 2}, {"h2", 1}},
		"h2,h1,H2":                  {{"h2", 2}, {"h1", 1}},
		"h1:4,h2":                   {{"h1", 4}, {"h2", 1}},
		"h1:auto,h2:*":              {{"h1", 0}, {"h2", 0}},
		" h1:4, h2:4 ":              {{"h1", 4}, {"h2", 4}},
		"[::1]:4,[fe80::1%e0]":      {{"::1", 4}, {"fe80::1%e0", 1}},
		"anna@h1:2,bob@[::1]:3":     {{"anna@h1", 2}, {"bob@::1", 3}},
		"anna@h1,anna@h1":           {{"anna@h1", 2}},
		"10.0.0.1:65536,10.0.0.2:1": {{"10.0.0.1", 65536}, {"10.0.0.2", 1}},
	} {
		if got, err := ParseList(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("-H %s: %v, %v; want %v", text, got, err, want)
		}
	}
}

func TestParseListRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                   "host list: it is empty: want names, such as h1:4,h2:4",
		" ":                                  "host list: it is empty: want names, such as h1:4,h2:4",
		"h1:4,,h2:4":                         "host list: h1:4,,h2:4: a name is missing beside a comma",
		"h1,":                                "host list: h1,: a name is missing beside a comma",
		"h1:4,h1:4":                          "host list: h1:4,h1:4: h1 is listed twice: list it once, with all its slots",
		"h1:4,h1":                            "host list: h1:4,h1: h1 is listed twice: list it once, with all its slots",
		"h1,h1,h1:4":                         "host list: h1,h1,h1:4: h1 is listed twice: list it once, with all its slots",
		"[::1],[0::1]:2":                     "host list: [::1],[0::1]:2: ::1 is listed twice: list it once, with all its slots",
		"anna@h1,bob@h1":                     "host list: bob@h1: the host is listed twice, the first time as anna@h1: list it once",
		"h1:x":                               "host list: h1:x: slots x: want a whole number from 1",
		"h1:":                                `host list: h1:: slots "": want a whole number from 1`,
		"h1:0":                               "host list: h1:0: slots 0: want a whole number from 1",
		"h1:-4":                              "host list: h1:-4: slots -4: want a whole number from 1",
		"h1:+4":                              "host list: h1:+4: slots +4: want a whole number from 1",
		"h1:65537":                           "host list: h1:65537: slots 65537: want at most 65536",
		"h1:99999999999999999999":            "host list: h1:99999999999999999999: slots 99999999999999999999: want at most 65536",
		"fe80::1":                            "host list: fe80::1: an IPv6 address stands in brackets, such as [fe80::1]:4",
		"[::1]4":                             "host list: [::1]4: want nothing, or a colon and slots, after the bracket",
		"-oProxyCommand=x":                   `host list: -oProxyCommand=x: a host name does not begin with "-"`,
		"h1\x1b[2J":                          `host list: "h1\x1b[2J": "\x1b" does not belong in a host name`,
		"h[1-3]":                             `host list: h[1-3]: "[" does not belong in a host name`,
		"h1 h2":                              `host list: h1 h2: " " does not belong in a host name`,
		strings.Repeat("h,", maxSlots) + "h": "host list: h has more than 65536 slots",
	} {
		got, err := ParseList(text)
		if err == nil || err.Error() != want || got != nil {
			t.Errorf("-H %s: %v, %v; want\n%s", show(text), got, err, want)
		}
	}
}

func TestParseListIsBounded(t *testing.T) {
	names := manyNames(maxHosts + 1)
	if got, err := ParseList(strings.Join(names[1:], ",")); err != nil || len(got) != maxHosts {
		t.Errorf("%d hosts, %v; want %d", len(got), err, maxHosts)
	}
	want := "host list: more than 65536 hosts"
	if _, err := ParseList(strings.Join(names, ",")); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func manyNames(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = string(appendNumber([]byte("n"), uint64(i), 0))
	}
	return names
}

func TestHostString(t *testing.T) {
	for want, h := range map[string]Host{
		"h1:4":             {"h1", 4},
		"h1:auto":          {"h1", 0},
		"anna@[fe80::1]:2": {"anna@fe80::1", 2},
	} {
		if got := h.String(); got != want {
			t.Errorf("%v is written %s, want %s", h, got, want)
		}
	}
}

// FuzzParseList also writes what was read, which must be read as the same.
func FuzzParseList(f *testing.F) {
	for _, s := range []string{"", "h1:4,h2:4", "h1,h1,h2", "anna@[fe80::1%eth0]:4", "h1:auto,h2:*", "[::1],::1", "-x", "h1:0,h1:99999999999", "a,,b", "10.0.0.1:2", "h\x00\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		hosts, err := ParseList(s)
		if err != nil {
			checkError(t, err)
			return
		}
		if len(hosts) == 0 {
			t.Error("no hosts and no error")
		}
		checkNames(t, hosts)
		var words []string
		for _, h := range hosts {
			words = append(words, h.String())
		}
		if again, err := ParseList(strings.Join(words, ",")); err != nil || !slices.Equal(again, hosts) {
			t.Errorf("%q is read as %v, and that as %v, %v", s, hosts, again, err)
		}
	})
}
