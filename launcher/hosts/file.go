package hosts

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"strings"
)

// ParseFile reads a host file: a host a line, as Horovod and Open MPI write it
// (h1 slots=4 max_slots=8), as MPICH does (h1:4 binding=user:0,1), or only its name. The
// file's name is for messages.
func ParseFile(name string, text []byte) ([]Host, error) {
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) {
		return nil, fmt.Errorf("%s: is UTF-16, want UTF-8", name)
	}
	var hosts []Host
	first := make(map[string]int) // identity → line
	for n, line := range lines(text) {
		line, _, _ = strings.Cut(line, "#")
		s := scanner{line: line}
		if s.done() {
			continue
		}
		h, err := s.host()
		if err != nil {
			return nil, fmt.Errorf("%s:%d:%d: %w", name, n, s.start+1, err)
		}
		id := identity(h.Name)
		if before, found := first[id]; found {
			return nil, fmt.Errorf("%s:%d:%d: %s is already in line %d: list a host once, with all its slots", name, n, s.first+1, h.Name, before)
		}
		if len(hosts) == maxHosts {
			return nil, fmt.Errorf("%s:%d: more than %d hosts", name, n, maxHosts)
		}
		first[id] = n
		hosts = append(hosts, h)
	}
	if len(hosts) == 0 {
		return nil, fmt.Errorf("%s: no host in it: want one a line, such as h1 slots=4", name)
	}
	return hosts, nil
}

// lines numbers the lines of a text from 1. Windows' line ends and byte order mark are no
// part of them.
func lines(text []byte) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		n := 0
		for line := range bytes.SplitSeq(bytes.TrimPrefix(text, []byte("\ufeff")), []byte("\n")) {
			n++
			if !yield(n, string(bytes.TrimSuffix(line, []byte("\r")))) {
				return
			}
		}
	}
}

// scanner reads one line of a host file.
type scanner struct {
	line  string
	at    int
	first int // where the host stands
	start int // of the word that is being read, for messages
}

const blanks = " \t\f\v"

// done skips blanks and says whether the line has ended.
func (s *scanner) done() bool {
	rest := strings.TrimLeft(s.line[s.at:], blanks)
	s.at = len(s.line) - len(rest)
	return rest == ""
}

// word reads to the next blank, or to one of stop.
func (s *scanner) word(stop string) string {
	end := strings.IndexAny(s.line[s.at:], blanks+stop)
	if end < 0 {
		end = len(s.line) - s.at
	}
	word := s.line[s.at : s.at+end]
	s.at += end
	return word
}

func (s *scanner) equals() bool {
	if s.done() || s.line[s.at] != '=' {
		return false
	}
	s.at++
	return true
}

// host reads a host and its attributes. At an error, start is where.
func (s *scanner) host() (Host, error) {
	s.first, s.start = s.at, s.at
	entry := s.word("=")
	if s.equals() {
		return Host{}, fmt.Errorf("%s: a host name comes first", show(strings.TrimRight(s.line[s.start:], blanks)))
	}
	name, slots, _, err := parseEntry(entry)
	if err != nil {
		return Host{}, fmt.Errorf("%s: %w", show(entry), err)
	}
	a := attributes{slots: slots}
	for !s.done() {
		s.start = s.at
		key := s.word("=")
		if !s.equals() {
			return Host{}, fmt.Errorf("%s: want KEY=VALUE, such as slots=4", show(key))
		}
		s.done()
		value := s.word("")
		if err := a.set(key, value); err != nil {
			return Host{}, fmt.Errorf("%s: %w", show(key+"="+value), err)
		}
	}
	s.start = s.first
	switch {
	case a.most > 0 && a.slots > a.most:
		return Host{}, fmt.Errorf("%s: %d slots, but max_slots is %d", show(entry), a.slots, a.most)
	case a.user != "" && strings.Contains(name, "@"):
		return Host{}, fmt.Errorf("%s: two users for one host", show(entry))
	case a.user != "":
		name = a.user + "@" + name
	}
	if a.slots == 0 {
		a.slots = a.most // as Open MPI has it
	}
	return Host{Name: name, Slots: a.slots}, nil
}

// attributes are what follows a name.
type attributes struct {
	slots, most int
	user        string
}

// set takes one attribute. What ranks are bound to, and by which of its names a host is
// reached (MPICH), is read and not used.
func (a *attributes) set(key, value string) error {
	if strings.Contains(value, "=") {
		return errors.New("want one value")
	}
	var err error
	switch strings.ReplaceAll(key, "-", "_") {
	case "slots", "cpu", "count":
		if a.slots > 0 {
			return errors.New("slots are given twice")
		}
		a.slots, err = parseSlots(value)
	case "max_slots", "slots_max", "max_cpu", "cpu_max", "max_count", "count_max":
		if a.most > 0 {
			return errors.New("the most slots are given twice")
		}
		a.most, err = parseSlots(value)
	case "user", "username", "user_name":
		if a.user != "" {
			return errors.New("a user is given twice")
		}
		a.user, err = value, checkWord(value, "user name")
	case "binding", "ifhn":
		if value == "" {
			err = errors.New("a value is missing")
		}
	case "":
		err = errors.New("a key is missing")
	default:
		err = errors.New("not a known key: want slots, max_slots, user, binding or ifhn")
	}
	return err
}
