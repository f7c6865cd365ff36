// Package hosts says which hosts a job may use, and how many ranks each takes: it reads
// host lists, host files and what schedulers say, and places ranks. It is pure; whoever
// calls it reads environment and files.
package hosts

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// What is read is bounded before memory is taken.
const (
	maxHosts = 1 << 16
	maxSlots = 1 << 16 // of one host
)

// A Host is a host and the ranks that it may take.
type Host struct {
	// Name is safe as an argument of a command: a host name, an IPv4 address, or an IPv6
	// address without brackets, each with "user@" in front where that was said.
	Name string
	// Slots is 0 where nothing was said: as many as the host has cores.
	Slots int
}

// String writes the host as ParseList reads it.
func (h Host) String() string {
	user, host, found := strings.Cut(h.Name, "@")
	if !found {
		user, host = "", h.Name
	} else {
		user += "@"
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if h.Slots == 0 {
		return user + host + ":auto"
	}
	return user + host + ":" + strconv.Itoa(h.Slots)
}

// ParseList reads the value of -H: names with slots, as for Horovod and MPICH (h1:4,h2:4),
// or names each mention of which is a slot, as for Open MPI (h1,h1,h2). As many slots as
// cores are h1:auto or h1:*. The hosts come in the order of their first mention.
func ParseList(s string) ([]Host, error) {
	hosts, err := parseList(s)
	if err != nil {
		return nil, fmt.Errorf("host list: %w", err)
	}
	return hosts, nil
}

func parseList(s string) ([]Host, error) {
	if strings.TrimSpace(s) == "" {
		return nil, errors.New("it is empty: want names, such as h1:4,h2:4")
	}
	var hosts tally
	counted := make(map[string]bool)
	for entry := range strings.SplitSeq(s, ",") {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			return nil, fmt.Errorf("%s: a name is missing beside a comma", show(s))
		}
		name, slots, said, err := parseEntry(entry)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", show(entry), err)
		}
		if !said {
			slots = 1
		}
		id := identity(name)
		if before := hosts.find(name); before != nil {
			switch {
			case !strings.EqualFold(before.Name, name):
				return nil, fmt.Errorf("%s: the host is listed twice, the first time as %s: list it once", show(entry), before.Name)
			case said || counted[id]:
				return nil, fmt.Errorf("%s: %s is listed twice: list it once, with all its slots", show(s), before.Name)
			}
		}
		counted[id] = said
		if err := hosts.add(name, slots); err != nil {
			return nil, err
		}
	}
	return hosts.hosts, nil
}

// parseEntry reads a name with or without slots: h1, h1:4, h1:auto, user@[::1]:4.
func parseEntry(s string) (name string, slots int, said bool, err error) {
	host, count := s, ""
	if end := strings.LastIndexByte(s, ']'); end >= 0 {
		host, count = s[:end+1], s[end+1:]
		if said = count != ""; said {
			var colon bool
			if count, colon = strings.CutPrefix(count, ":"); !colon {
				return "", 0, false, errors.New("want nothing, or a colon and slots, after the bracket")
			}
		}
	} else {
		host, count, said = strings.Cut(s, ":")
		if strings.Contains(count, ":") {
			return "", 0, false, errors.New("an IPv6 address stands in brackets, such as [fe80::1]:4")
		}
	}
	if name, err = parseName(host); err != nil {
		return "", 0, false, err
	}
	if !said || count == "auto" || count == "*" {
		return name, 0, said, nil
	}
	if slots, err = parseSlots(count); err != nil {
		return "", 0, false, fmt.Errorf("slots %s: %w", show(count), err)
	}
	return name, slots, true, nil
}

func parseSlots(s string) (int, error) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, errors.New("want a whole number from 1")
	}
	switch n, err := strconv.ParseUint(s, 10, 64); {
	case err != nil || n > maxSlots:
		return 0, fmt.Errorf("want at most %d", maxSlots)
	case n == 0:
		return 0, errors.New("want a whole number from 1")
	default:
		return int(n), nil
	}
}

// tally adds up slots of hosts that may be mentioned often.
type tally struct {
	hosts []Host
	at    map[string]int // identity → place in hosts
}

func (t *tally) find(name string) *Host {
	if i, found := t.at[identity(name)]; found {
		return &t.hosts[i]
	}
	return nil
}

func (t *tally) add(name string, slots int) error {
	if t.at == nil {
		t.at = make(map[string]int)
	}
	h := t.find(name)
	if h == nil {
		if len(t.hosts) == maxHosts {
			return fmt.Errorf("more than %d hosts", maxHosts)
		}
		t.at[identity(name)] = len(t.hosts)
		t.hosts = append(t.hosts, Host{Name: name, Slots: slots})
		return nil
	}
	if h.Slots += slots; h.Slots > maxSlots {
		return fmt.Errorf("%s has more than %d slots", name, maxSlots)
	}
	return nil
}

func (t *tally) slots() int {
	sum := 0
	for _, h := range t.hosts {
		sum += h.Slots
	}
	return sum
}
