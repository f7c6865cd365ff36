package hosts

import (
	"slices"
	"strings"
	"testing"
)

func TestParseFile(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []Host
	}{
		{"Horovod", "h1 slots=4\nh2 slots=2\n", []Host{{"h1", 4}, {"h2", 2}}},
		{"Open MPI", "# the cluster\n\naa slots=4 max_slots=8\nbb\tslots = 2  max-slots= 4 # new\n  cc max_slots=3\ndd count=1\n", []Host{{"aa", 4}, {"bb", 2}, {"cc", 3}, {"dd", 1}}},
		{"MPICH", "h1:4 binding=user:0,1 ifhn=eth0\nh2:2 user=anna\n", []Host{{"h1", 4}, {"anna@h2", 2}}},
		{"names", "h1\nh2.example.com\n10.0.0.1", []Host{{"h1", 0}, {"h2.example.com", 0}, {"10.0.0.1", 0}}},
		{"Windows", "\ufeffh1 slots=4\r\n\r\nh2 slots=4 # x\r\n", []Host{{"h1", 4}, {"h2", 4}}},
		{"IPv6", "[::1] slots=4\nanna@[fe80::1%eth0]:2\n", []Host{{"::1", 4}, {"anna@fe80::1%eth0", 2}}},
		{"cores", "h1:auto\nh2:auto slots=4\n", []Host{{"h1", 0}, {"h2", 4}}},
		{"a comment at once", "h1#x\n", []Host{{"h1", 0}}},
	} {
		if got, err := ParseFile("hosts.txt", []byte(c.text)); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %v; want %v", c.name, got, err, c.want)
		}
	}
}

func TestParseFileRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                   "hosts.txt: no host in it: want one a line, such as h1 slots=4",
		"\ufeff# none\r\n\r\n":               "hosts.txt: no host in it: want one a line, such as h1 slots=4",
		"\xff\xfeh\x001\x00":                 "hosts.txt: is UTF-16, want UTF-8",
		"h1\nh2\nhost3 slots=x":              "hosts.txt:3:7: slots=x: want a whole number from 1",
		"h1 slots=0":                         "hosts.txt:1:4: slots=0: want a whole number from 1",
		"h1 slots=-1":                        "hosts.txt:1:4: slots=-1: want a whole number from 1",
		"h1 slots=":                          "hosts.txt:1:4: slots=: want a whole number from 1",
		"h1 slots = # 4":                     "hosts.txt:1:4: slots=: want a whole number from 1",
		"h1 slots=1000000":                   "hosts.txt:1:4: slots=1000000: want at most 65536",
		"h1 slots=4 slots=4":                 "hosts.txt:1:12: slots=4: slots are given twice",
		"h1:4 slots=4":                       "hosts.txt:1:6: slots=4: slots are given twice",
		"h1 max_slots=4 max-slots=4":         "hosts.txt:1:16: max-slots=4: the most slots are given twice",
		"h1 slots=4 max_slots=2":             "hosts.txt:1:1: h1: 4 slots, but max_slots is 2",
		"h1 slot=4":                          "hosts.txt:1:4: slot=4: not a known key: want slots, max_slots, user, binding or ifhn",
		"h1 slots=4 =5":                      "hosts.txt:1:12: =5: a key is missing",
		"h1 binding= slots=4":                "hosts.txt:1:4: binding=slots=4: want one value",
		"h1 ifhn=":                           "hosts.txt:1:4: ifhn=: a value is missing",
		"h1 4":                               "hosts.txt:1:4: 4: want KEY=VALUE, such as slots=4",
		"h1, h2":                             `hosts.txt:1:1: h1,: "," does not belong in a host name`,
		"  slots=4 h1":                       "hosts.txt:1:3: slots=4 h1: a host name comes first",
		"=":                                  "hosts.txt:1:1: =: a host name comes first",
		"\th1:x":                             "hosts.txt:1:2: h1:x: slots x: want a whole number from 1",
		"h1\n\n  h2\nh1 slots=2":             "hosts.txt:4:1: h1 is already in line 1: list a host once, with all its slots",
		"h1\r\n\r\n  H1\r\n":                 "hosts.txt:3:3: H1 is already in line 1: list a host once, with all its slots",
		"h1\nh1 user=anna":                   "hosts.txt:2:1: anna@h1 is already in line 1: list a host once, with all its slots",
		"anna@h1 user=bob":                   "hosts.txt:1:1: anna@h1: two users for one host",
		"h1 user=anna user=bob":              "hosts.txt:1:14: user=bob: a user is given twice",
		"h1 user=-v":                         `hosts.txt:1:4: user=-v: a user name does not begin with "-"`,
		"h1\n-v":                             `hosts.txt:2:1: -v: a host name does not begin with "-"`,
		"h1;reboot":                          `hosts.txt:1:1: h1;reboot: ";" does not belong in a host name`,
		"h1\x1b[2J":                          `hosts.txt:1:1: "h1\x1b[2J": "\x1b" does not belong in a host name`,
		"fe80::1":                            "hosts.txt:1:1: fe80::1: an IPv6 address stands in brackets, such as [fe80::1]:4",
		"h1\x00":                             `hosts.txt:1:1: "h1\x00": "\x00" does not belong in a host name`,
		strings.Repeat("x", 500):             "hosts.txt:1:1: " + strings.Repeat("x", 80) + "…: a host name has at most 253 characters",
		strings.Join(manyNames(65537), "\n"): "hosts.txt:65537: more than 65536 hosts",
	} {
		got, err := ParseFile("hosts.txt", []byte(text))
		if err == nil || err.Error() != want || got != nil {
			t.Errorf("%s: %v, %v; want\n%s", show(text), len(got), err, want)
		}
	}
}

func FuzzParseFile(f *testing.F) {
	for _, s := range []string{
		"", "h1 slots=4 max_slots=8\nh2\n", "h1:4 binding=user:0,1\r\nh2:4 ifhn=eth0 user=anna\r\n", "\ufeff# x\n[::1]:2#y",
		"h1 slots = 4", "h1 slots", "h1 =", "=4", "h1\nh1", "-v", "\xff\xfeh\x00", "h1 slots=99999999999999999999", "a@b user=c",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		hosts, err := ParseFile("hosts.txt", text)
		if err != nil {
			checkError(t, err)
			if !strings.HasPrefix(err.Error(), "hosts.txt:") {
				t.Errorf("the file is not named: %v", err)
			}
			return
		}
		if len(hosts) == 0 || len(hosts) > 1+strings.Count(string(text), "\n") {
			t.Errorf("%d hosts", len(hosts))
		}
		checkNames(t, hosts)
	})
}
