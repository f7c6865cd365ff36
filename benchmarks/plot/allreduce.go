package plot

import "fmt"

// AllReduce is the chart of measured all-reduces: time against size, both logarithmic.
func AllReduce(m *Measured, ours string, limits []Limit) Chart {
	c := Chart{
		Title: fmt.Sprintf("All-reduce over %d ranks, float32 sum in place", m.Ranks),
		Note:  "median time of a call; lower is better; dashed: what the machine can do at best",
		X:     Axis{Name: "size", Unit: Bytes, Log: true},
		Y:     Axis{Name: "time", Unit: Micros, Log: true},
		Lines: m.Lines(ours),
	}
	if len(limits) == 0 {
		c.Note = "median time of a call; lower is better"
	}
	for _, l := range limits {
		c.Lines = append(c.Lines, l.Line())
	}
	return c
}
