package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/gorun-ml/gorun/benchmarks/plot"
)

// group is the repetitions of one thing, seconds ascending.
type group struct {
	name    string
	ours    bool
	seconds []float64
	named   []float64 // of those, until a rank that hangs was named; ascending too
	after   []float64 // and after that
	none    int       // repetitions without a step
	lost    int       // most steps that were lost in one
}

// groups puts results together, in the order in which things first come.
func groups(all []Result) []group {
	var gs []group
	for _, r := range all {
		name := fmt.Sprintf("%s, %s, %s", r.System, r.Case, r.Model)
		i := slices.IndexFunc(gs, func(g group) bool { return g.name == name })
		if i < 0 {
			i = len(gs)
			gs = append(gs, group{name: name, ours: r.System != "torchrun"})
		}
		g := &gs[i]
		if r.Seconds == nil {
			g.none++
			continue
		}
		g.seconds = append(g.seconds, *r.Seconds)
		g.lost = max(g.lost, r.StepsLost)
		if r.Named != nil {
			g.named, g.after = append(g.named, *r.Named), append(g.after, *r.Seconds-*r.Named)
		}
	}
	for _, g := range gs {
		slices.Sort(g.seconds)
		slices.Sort(g.named)
		slices.Sort(g.after)
	}
	return gs
}

// percentile is the least of the seconds, ascending, that p of 100 repetitions stay within.
func percentile(seconds []float64, p float64) float64 {
	i := int(math.Ceil(p/100*float64(len(seconds)))) - 1
	return seconds[max(i, 0)]
}

func (g group) says() []string {
	var s []string
	if n := len(g.seconds); n > 0 {
		s = append(s, fmt.Sprintf("%d times", n), fmt.Sprintf("median %.3f s", percentile(g.seconds, 50)),
			fmt.Sprintf("p99 %.3f s", percentile(g.seconds, 99)), fmt.Sprintf("at most %d steps lost", g.lost))
	}
	if len(g.named) > 0 {
		s = append(s, fmt.Sprintf("named after %.3f s in the median, %.3f s at most", percentile(g.named, 50), percentile(g.named, 100)),
			fmt.Sprintf("a step %.3f s after that, %.3f s at most", percentile(g.after, 50), percentile(g.after, 100)))
	}
	if g.none > 0 {
		s = append(s, fmt.Sprintf("%d times no step within the limit", g.none))
	}
	return s
}

// drawTo draws how many repetitions had recovered after how long.
func drawTo(path string, all []Result) error {
	c := plot.Chart{
		Title: "From a fault to the next completed step, 4 ranks on one machine",
		Note:  "repetitions in order of their time",
		X:     plot.Axis{Name: "repetitions that took at most so long", Unit: plot.Percent, From: 0, To: 1},
		Y:     plot.Axis{Name: "time without a step", Unit: plot.Micros, Log: true},
	}
	for _, g := range groups(all) {
		line := plot.Line{Name: strings.Replace(g.name, ", worker", "", 1), Ours: g.ours, Marked: true}
		for i, s := range g.seconds {
			line.Points = append(line.Points, plot.Point{X: float64(i+1) / float64(len(g.seconds)), Y: s * 1e6})
		}
		if len(line.Points) > 0 {
			c.Lines = append(c.Lines, line)
		}
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(plot.DrawSVG(f, c), f.Close())
}
