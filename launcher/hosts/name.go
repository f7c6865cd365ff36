package hosts

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

const (
	maxName  = 253 // bytes of a name, and maxLabel of a part between dots (RFC 1035)
	maxLabel = 63
)

// parseName reads [user@]name, where name is a host name, an IPv4 address, or an IPv6
// address in brackets. The result has no brackets, and one spelling for an address.
//
// A name becomes an argument of ssh and srun, so it is what may pass that is listed here:
// no leading "-", which would make it an option, and nothing that a shell reads.
func parseName(s string) (string, error) {
	user, host, found := strings.Cut(s, "@")
	if !found {
		return parseHost(s)
	}
	if err := checkWord(user, "user name"); err != nil {
		return "", err
	}
	name, err := parseHost(host)
	if err != nil {
		return "", err
	}
	return user + "@" + name, nil
}

func parseHost(s string) (string, error) {
	if strings.HasPrefix(s, "[") {
		return parseIPv6(s)
	}
	if err := checkWord(s, "host name"); err != nil {
		return "", err
	}
	labels := strings.Split(s, ".")
	for _, l := range labels {
		if l == "" || len(l) > maxLabel || l[0] == '-' || l[len(l)-1] == '-' {
			return "", fmt.Errorf("the part %s between dots is not that of a host name", strconv.Quote(cut(l)))
		}
	}
	// ssh takes a number as an address, so that 4 would be the host 0.0.0.4.
	if strings.Trim(labels[len(labels)-1], "0123456789") == "" {
		if _, err := netip.ParseAddr(s); err != nil {
			return "", errors.New("is a number, want a host name or an IPv4 address")
		}
	}
	return s, nil
}

func parseIPv6(s string) (string, error) {
	inner, closed := strings.CutSuffix(s[1:], "]")
	if !closed || strings.ContainsAny(inner, "[]") {
		return "", errors.New("want an IPv6 address between one [ and one ]")
	}
	addr, err := netip.ParseAddr(inner)
	if err != nil || !addr.Is6() {
		return "", errors.New("want an IPv6 address between the brackets")
	}
	if zone := addr.Zone(); zone != "" {
		if err := checkWord(zone, "zone"); err != nil {
			return "", err
		}
	}
	return addr.String(), nil
}

// checkWord refuses what is no user, host or zone, whatever its structure.
func checkWord(s, what string) error {
	switch {
	case s == "":
		return fmt.Errorf("a %s is missing", what)
	case s[0] == '-':
		return fmt.Errorf(`a %s does not begin with "-"`, what)
	case len(s) > maxName:
		return fmt.Errorf("a %s has at most %d characters", what, maxName)
	}
	for _, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && !strings.ContainsRune("-._", r) {
			return fmt.Errorf("%s does not belong in a %s", strconv.Quote(string(r)), what)
		}
	}
	return nil
}

// identity is equal for two names of one host: the user does not matter, nor does case.
func identity(name string) string {
	_, host, found := strings.Cut(name, "@")
	if !found {
		host = name
	}
	return strings.ToLower(host)
}

// show is s as it can stand in a message: short, on one line, and harmless to a terminal.
func show(s string) string {
	s = cut(s)
	plain := s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) || r == '\ufffd' })
	if plain {
		return s
	}
	return strconv.Quote(s)
}

func cut(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
