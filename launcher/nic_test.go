package launcher

import (
	"net/netip"
	"strings"
	"testing"
)

func TestPick(t *testing.T) {
	ip := netip.MustParseAddr
	have := []address{
		{"lo", ip("127.0.0.1")},
		{"lo", ip("::1")},
		{"eth0", ip("192.168.0.7")},
		{"eth0", ip("2001:db8::7")},
		{"ib0", ip("10.4.0.7")},
		{"ib0", ip("10.5.0.7")},
	}
	four, six := ip("10.80.0.1"), ip("2001:db8::1")
	for _, c := range []struct {
		asked string
		like  netip.Addr
		want  string
	}{
		{"ib0", netip.Addr{}, "10.4.0.7"},
		{"10.5.0.0/16", netip.Addr{}, "10.5.0.7"},
		{"10.0.0.0/8", four, "10.4.0.7"},
		{"nosuch,eth0,ib0", four, "192.168.0.7"},
		{"eth0", six, "2001:db8::7"},
		{"lo,eth0", six, "::1"},
		{"2001:db8::/32,lo", netip.Addr{}, "127.0.0.1"}, // IPv4 first, where nothing is said
		{"2001:db8::/32", netip.Addr{}, "2001:db8::7"},
		{"2001:db8::/32", four, ""},
		{"ib0", six, ""},
		{"eth1,172.16.0.0/12", netip.Addr{}, ""},
	} {
		got, err := pick(strings.Split(c.asked, ","), have, c.like)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s, as %v: %q, %v; want %q", c.asked, c.like, got, err, c.want)
		}
		if err != nil && (!strings.Contains(err.Error(), "--nic "+c.asked) || !strings.Contains(err.Error(), "ib0 10.5.0.7")) {
			t.Errorf("%q doesn't say what was asked for and what there is", err)
		}
	}
}
