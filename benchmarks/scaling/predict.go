package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/gorun-ml/gorun/benchmarks/plot"
	"github.com/gorun-ml/gorun/topology"
)

// point is one line of the output.
type point struct {
	ranks, hosts         int
	bytes                int64
	algorithm            string
	predicted            time.Duration
	measured             float64 // µs, 0 if not
	efficiency, achieved float64 // of a step as predicted and as measured, 0 where there is none
}

// step is a training step: every rank computes as long whatever their number, and then waits
// for what is left of the communication.
type step struct {
	compute time.Duration
	overlap float64
}

// efficiency is what part of a step is computing, 0 where that is not known.
func (s step) efficiency(communication float64) float64 {
	if s.compute == 0 {
		return 0
	}
	exposed := max(0, communication-s.overlap*float64(s.compute))
	return float64(s.compute) / (float64(s.compute) + exposed)
}

// predict tells progress of every point before it begins.
func (j job) predict(beside measured, progress func(ranks int, bytes int64)) ([]point, error) {
	var points []point
	for _, size := range j.bytes {
		for _, ranks := range j.ranks {
			progress(ranks, size)
			c, err := j.cluster.Of(ranks)
			if err != nil {
				return nil, err
			}
			p := point{ranks: ranks, hosts: c.Hosts, bytes: size}
			p.algorithm, p.predicted = allReduce(c, size)
			p.measured = beside.time(ranks, size)
			p.efficiency = j.step.efficiency(float64(p.predicted))
			if p.measured > 0 {
				p.achieved = j.step.efficiency(1e3 * p.measured)
			}
			points = append(points, p)
		}
	}
	return points, nil
}

// allReduce is the algorithm for a cluster and its time.
func allReduce(c topology.Cluster, bytes int64) (string, time.Duration) {
	l := c.Links()
	choice := topology.Select(c.World(), topology.Collective{Kind: topology.AllReduce}, bytes, l)
	if c.Hosts == 1 && c.Ranks > 1 && l.Memory.Tick > 0 {
		if took := topology.SharedTime(c.Ranks, bytes, l, false); took < choice.Time {
			return "shared", took
		}
	}
	return choice.Name, choice.Time
}

// measured is what was measured with each number of ranks.
type measured map[int]*plot.Measured

// readMeasured reads lines of the peer whose name begins with ours; a file without any is
// refused.
func readMeasured(path, ours string, ranks []int) (measured, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	m, found := measured{}, false
	var last error
	for _, n := range ranks {
		of, err := plot.ReadMeasured(bytes.NewReader(text), n)
		if err != nil {
			last = err
			continue
		}
		m[n] = of.Only(ours)
		found = found || len(m[n].Peers) > 0
	}
	if found {
		return m, nil
	}
	if last == nil {
		last = errors.New("no peer's name begins with " + ours)
	}
	return nil, fmt.Errorf("-measured %s: %w", path, last)
}

// time is the best of what was measured, or 0.
func (m measured) time(ranks int, bytes int64) float64 {
	best := 0.0
	if of := m[ranks]; of != nil {
		for _, peer := range of.Peers {
			if us, ok := of.Time(peer, bytes); ok && (best == 0 || us < best) {
				best = us
			}
		}
	}
	return best
}

func writeCSV(out io.Writer, points []point) error {
	text := []byte("ranks,hosts,bytes,algorithm,predicted_us,measured_us,efficiency\n")
	for _, p := range points {
		text = fmt.Appendf(text, "%d,%d,%d,%s,%.2f,", p.ranks, p.hosts, p.bytes, p.algorithm, float64(p.predicted)/1e3)
		if p.measured > 0 {
			text = strconv.AppendFloat(text, p.measured, 'f', 2, 64)
		}
		text = append(text, ',')
		if p.efficiency > 0 {
			text = strconv.AppendFloat(text, p.efficiency, 'f', 4, 64)
		}
		text = append(text, '\n')
	}
	_, err := out.Write(text)
	return err
}

// chart draws efficiency against ranks, or time where there is no efficiency. What was
// measured has marks.
func (j job) chart(points []point) plot.Chart {
	c := plot.Chart{
		Title: "Predicted all-reduces, float32 sum; marks: measured",
		Note:  j.cluster.String(),
		X:     plot.Axis{Name: "ranks", Unit: plot.Powers, Log: true},
		Y:     plot.Axis{Name: "time", Unit: plot.Micros, Log: true},
	}
	if j.step.compute > 0 {
		c.Title = fmt.Sprintf("Predicted weak scaling, %v of computing a step", j.step.compute)
		if j.step.overlap > 0 {
			c.Title += fmt.Sprintf(", %g %% of it hide communication", 100*j.step.overlap)
		}
		c.Title += "; marks: measured"
		c.Y = plot.Axis{Name: "efficiency", Unit: plot.Percent, To: 1}
	}
	for _, size := range j.bytes {
		predicted := plot.Line{Name: plot.Size(size)}
		beside := plot.Line{Name: plot.Size(size) + ", measured", Ours: true, Marked: true}
		for _, p := range points {
			if p.bytes != size {
				continue
			}
			y, m := float64(p.predicted)/1e3, p.measured
			if j.step.compute > 0 {
				y, m = p.efficiency, p.achieved
			}
			if y > 0 { // one rank sends nothing
				predicted.Points = append(predicted.Points, plot.Point{X: float64(p.ranks), Y: y})
			}
			if m > 0 {
				beside.Points = append(beside.Points, plot.Point{X: float64(p.ranks), Y: m})
			}
		}
		c.Lines = append(c.Lines, predicted)
		if len(beside.Points) > 0 {
			c.Lines = append(c.Lines, beside)
		}
	}
	return c
}
