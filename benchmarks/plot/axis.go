package plot

import (
	"fmt"
	"math"
	"strconv"
)

// Axis is one direction of a chart.
type Axis struct {
	Name string
	Unit Unit
	Log  bool
	// From and To are shown in any case, where they are not both 0.
	From, To float64
}

// Unit says how the numbers of an axis are written and where it is marked.
type Unit uint8

// The units.
const (
	Number  Unit = iota // 1 10 100; or 0.2 0.4
	Bytes               // 1 KiB 32 KiB 1 MiB, marked at powers of two
	Micros              // microseconds, as 1 µs 1 ms 1 s
	Percent             // of 1
	Powers              // 1 2 4 8, marked at powers of two
)

// scale puts values on the page.
type scale struct {
	log      bool
	lo, hi   float64
	from, to float64 // pixels
	ticks    []tick
}

type tick struct {
	value float64
	name  string
}

func (s scale) at(v float64) float64 {
	if s.log {
		return s.from + (s.to-s.from)*(math.Log(v)-math.Log(s.lo))/(math.Log(s.hi)-math.Log(s.lo))
	}
	return s.from + (s.to-s.from)*(v-s.lo)/(s.hi-s.lo)
}

// scale is an axis made for values, between two pixels.
func (a Axis) scale(values []float64, from, to float64) (scale, error) {
	s := scale{log: a.Log, lo: math.Inf(1), hi: math.Inf(-1), from: from, to: to}
	if a.From != 0 || a.To != 0 {
		s.lo, s.hi = a.From, a.To
	}
	for _, v := range values {
		if math.IsNaN(v) || math.IsInf(v, 0) || a.Log && v <= 0 {
			return s, fmt.Errorf("plot: %s: can't draw %v", a.Name, v)
		}
		s.lo, s.hi = min(s.lo, v), max(s.hi, v)
	}
	if a.Log {
		base := 10.
		if a.Unit == Bytes || a.Unit == Powers {
			base = 2
		}
		a.decades(&s, base)
		return s, nil
	}
	a.steps(&s)
	return s, nil
}

// decades marks powers of a base, not more than a dozen.
func (a Axis) decades(s *scale, base float64) {
	first, last := int(math.Floor(math.Log(s.lo)/math.Log(base)+1e-9)), int(math.Ceil(math.Log(s.hi)/math.Log(base)-1e-9))
	if first == last {
		last++
	}
	s.lo, s.hi = math.Pow(base, float64(first)), math.Pow(base, float64(last))
	every := 1
	for (last-first)/every > 13 {
		every++
	}
	for n := first; n <= last; n += every {
		v := math.Pow(base, float64(n))
		s.ticks = append(s.ticks, tick{v, a.Unit.text(v)})
	}
}

// steps marks round numbers, five to ten of them.
func (a Axis) steps(s *scale) {
	if s.lo > 0 && s.lo < s.hi/2 || s.lo == s.hi {
		s.lo = min(0, s.lo)
	}
	if s.hi <= s.lo {
		s.hi = s.lo + 1
	}
	step := math.Pow(10, math.Floor(math.Log10(s.hi-s.lo)))
	for _, part := range []float64{1, .5, .2, .1} {
		if (s.hi-s.lo)/(step*part) >= 5 {
			step *= part
			break
		}
	}
	s.lo, s.hi = step*math.Floor(s.lo/step+1e-9), step*math.Ceil(s.hi/step-1e-9)
	for n := math.Round(s.lo / step); n*step <= s.hi*(1+1e-9); n++ {
		s.ticks = append(s.ticks, tick{n * step, a.Unit.text(n * step)})
	}
}

// text is a value as people write it.
func (u Unit) text(v float64) string {
	switch u {
	case Bytes:
		return Size(int64(v))
	case Micros:
		switch {
		case v >= 1e6:
			return short(v/1e6) + " s"
		case v >= 1e3:
			return short(v/1e3) + " ms"
		}
		return short(v) + " µs"
	case Percent:
		return short(100*v) + " %"
	}
	return short(v)
}

// short is a number without more digits than it needs.
func short(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }

// Size is bytes as people write them: 4 B, 64 KiB.
func Size(bytes int64) string {
	units, unit, x := []string{"B", "KiB", "MiB", "GiB", "TiB"}, 0, float64(bytes)
	for x >= 1024 && unit < len(units)-1 {
		x /= 1024
		unit++
	}
	return short(x) + " " + units[unit]
}
