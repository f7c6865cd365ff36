package plot

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Measured is the times of all-reduces, a median over repeats for each peer and size.
type Measured struct {
	Ranks int
	Peers []string         // in order of first appearance
	Sizes []int64          // ascending
	times map[cell]float64 // µs
	raw   map[cell][]float64
}

type cell struct {
	peer  string
	bytes int64
}

// Time is a peer's median in µs, if it was measured.
func (m *Measured) Time(peer string, bytes int64) (us float64, ok bool) {
	us, ok = m.times[cell{peer, bytes}]
	return us, ok
}

// ReadMeasured reads lines of peer,np,bytes,iters,min_us,median_us,…; a header may come
// first and any number of fields may follow. Lines of another number of ranks are left out,
// where ranks is not 0.
func ReadMeasured(in io.Reader, ranks int) (*Measured, error) {
	m := &Measured{Ranks: ranks, times: make(map[cell]float64), raw: make(map[cell][]float64)}
	r := csv.NewReader(in)
	r.FieldsPerRecord = -1
	for {
		fields, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("plot: %w", err)
		}
		line, _ := r.FieldPos(0)
		if line == 1 && fields[0] == "peer" {
			continue
		}
		if err := m.add(fields, ranks); err != nil {
			return nil, fmt.Errorf("plot: line %d: %w", line, err)
		}
	}
	if len(m.Peers) == 0 {
		if ranks > 0 {
			return nil, fmt.Errorf("plot: there is no line of %d ranks", ranks)
		}
		return nil, errors.New("plot: there is no line of times")
	}
	for at, times := range m.raw {
		m.times[at] = median(times)
	}
	slices.Sort(m.Sizes)
	return m, nil
}

func (m *Measured) add(fields []string, ranks int) error {
	if len(fields) < 6 {
		return fmt.Errorf("%d fields: want peer,np,bytes,iters,min_us,median_us", len(fields))
	}
	np, err := strconv.Atoi(fields[1])
	if err != nil || np < 1 {
		return fmt.Errorf("np %q: want a number of ranks", fields[1])
	}
	bytes, err := strconv.ParseInt(fields[2], 10, 64)
	if err != nil || bytes < 1 {
		return fmt.Errorf("bytes %q: want a size", fields[2])
	}
	us, err := strconv.ParseFloat(fields[5], 64)
	if err != nil || !(us > 0) || us > 1e12 {
		return fmt.Errorf("median_us %q: want a time above 0", fields[5])
	}
	switch {
	case ranks > 0 && np != ranks:
		return nil
	case m.Ranks == 0:
		m.Ranks = np
	case m.Ranks != np:
		return fmt.Errorf("np %d after np %d: say which", np, m.Ranks)
	}
	at := cell{fields[0], bytes}
	if !slices.Contains(m.Peers, at.peer) {
		m.Peers = append(m.Peers, at.peer)
	}
	if !slices.Contains(m.Sizes, bytes) {
		m.Sizes = append(m.Sizes, bytes)
	}
	m.raw[at] = append(m.raw[at], us)
	return nil
}

// Lines is a line a peer, those ours whose names begin with ours.
func (m *Measured) Lines(ours string) []Line {
	var lines []Line
	for _, peer := range m.Peers {
		l := Line{Name: peer, Ours: isOurs(peer, ours), Marked: isOurs(peer, ours)}
		for _, bytes := range m.Sizes {
			if us, ok := m.Time(peer, bytes); ok {
				l.Points = append(l.Points, Point{float64(bytes), us})
			}
		}
		lines = append(lines, l)
	}
	return lines
}

func isOurs(peer, ours string) bool { return ours != "" && strings.HasPrefix(peer, ours) }

// Limit is what a machine can do at best for some of the sizes, in µs.
type Limit struct {
	Name  string
	Times map[int64]float64
}

// Line is the limit as a line of a chart.
func (l Limit) Line() Line {
	line := Line{Name: l.Name, Dashed: true}
	for bytes, us := range l.Times {
		line.Points = append(line.Points, Point{float64(bytes), us})
	}
	slices.SortFunc(line.Points, func(a, b Point) int { return int(a.X/4) - int(b.X/4) })
	return line
}

func median(x []float64) float64 {
	sorted := slices.Sorted(slices.Values(x))
	if n := len(sorted); n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[len(sorted)/2]
}

// Only is the same without the peers that are not ours.
func (m *Measured) Only(ours string) *Measured {
	only := *m
	only.Peers = nil
	for _, peer := range m.Peers {
		if isOurs(peer, ours) {
			only.Peers = append(only.Peers, peer)
		}
	}
	return &only
}
