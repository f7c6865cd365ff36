// Package plot draws what was measured as SVG: lines over logarithmic axes, each with its
// name at its end, legible on light and on dark pages.
package plot

import (
	"bufio"
	"errors"
	"fmt"
	"html"
	"io"
	"math"
)

// Point is one measurement.
type Point struct{ X, Y float64 }

// Line is the measurements of one thing, by rising X.
type Line struct {
	Name   string
	Points []Point
	Ours   bool // thick, in the first colour
	Dashed bool // a bound or a prediction
	Marked bool // a mark for each point, as a lone one has in any case
}

// Chart is lines over the same axes.
type Chart struct {
	Title, Note string
	X, Y        Axis
	Lines       []Line
}

// Measures of a drawing, in pixels.
const (
	width, height = 900, 520
	left, right   = 80, 190 // right: for the names of lines
	top, bottom   = 66, 56
	apart         = 15 // between two names
)

// DrawSVG draws a chart.
func DrawSVG(out io.Writer, c Chart) error {
	x, y, err := c.frame()
	if err != nil {
		return err
	}
	b := bufio.NewWriter(out)
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="system-ui, sans-serif" font-size="12">`+"\n", width, height, width, height)
	fmt.Fprint(b, style)
	fmt.Fprintf(b, `<rect class="page" width="%d" height="%d"/>`+"\n", width, height)
	fmt.Fprintf(b, `<text x="%d" y="28" font-size="17" class="ink">%s</text>`+"\n", left, html.EscapeString(c.Title))
	fmt.Fprintf(b, `<text x="%d" y="48" class="soft">%s</text>`+"\n", left, html.EscapeString(c.Note))
	for _, t := range x.ticks {
		fmt.Fprintf(b, `<path class="grid" d="M%.1f %dV%d"/><text class="soft" x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n",
			x.at(t.value), top, height-bottom, x.at(t.value), height-bottom+18, t.name)
	}
	for _, t := range y.ticks {
		fmt.Fprintf(b, `<path class="grid" d="M%d %.1fH%d"/><text class="soft" x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			left, y.at(t.value), width-right, left-8, y.at(t.value)+4, t.name)
	}
	fmt.Fprintf(b, `<text class="soft" x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", (left+width-right)/2, height-14, html.EscapeString(c.X.Name))
	fmt.Fprintf(b, `<text class="soft" transform="translate(20 %d) rotate(-90)" text-anchor="middle">%s</text>`+"\n", (top+height-bottom)/2, html.EscapeString(c.Y.Name))
	c.lines(b, x, y)
	fmt.Fprint(b, "</svg>\n")
	return b.Flush()
}

// frame is both axes, made for all points.
func (c Chart) frame() (x, y scale, err error) {
	var xs, ys []float64
	for _, l := range c.Lines {
		for _, p := range l.Points {
			xs, ys = append(xs, p.X), append(ys, p.Y)
		}
	}
	if len(xs) == 0 {
		return x, y, errors.New("plot: there is nothing to draw")
	}
	if x, err = c.X.scale(xs, left, width-right); err != nil {
		return x, y, err
	}
	y, err = c.Y.scale(ys, height-bottom, top)
	return x, y, err
}

// lines draws ours last, above the others.
func (c Chart) lines(b io.Writer, x, y scale) {
	colours := c.colours()
	places := c.places(y)
	for _, ours := range []bool{false, true} {
		for i, l := range c.Lines {
			if l.Ours != ours || len(l.Points) == 0 {
				continue
			}
			class := fmt.Sprintf("line c%d", colours[i])
			if l.Ours {
				class += " ours"
			}
			if l.Dashed {
				class += " dashed"
			}
			fmt.Fprintf(b, `<path class="%s" d="`, class)
			for k, p := range l.Points {
				command := 'L'
				if k == 0 {
					command = 'M'
				}
				fmt.Fprintf(b, "%c%.1f %.1f", command, x.at(p.X), y.at(p.Y))
			}
			fmt.Fprint(b, `"/>`)
			if l.Marked || len(l.Points) == 1 {
				for _, p := range l.Points {
					fmt.Fprintf(b, `<circle class="mark c%d" cx="%.1f" cy="%.1f" r="3"/>`, colours[i], x.at(p.X), y.at(p.Y))
				}
			}
			end := l.Points[len(l.Points)-1]
			weight := ""
			if l.Ours {
				weight = ` font-weight="bold"`
			}
			fmt.Fprintf(b, `<path class="leader c%d" d="M%.1f %.1fL%d %.1f"/>`, colours[i], x.at(end.X)+3, y.at(end.Y), width-right+16, places[i])
			fmt.Fprintf(b, `<text class="name c%d" x="%d" y="%.1f"%s>%s</text>`+"\n", colours[i], width-right+20, places[i]+4, weight, html.EscapeString(l.Name))
		}
	}
}

// colours gives our lines the first colours, bounds the last, and the others the rest, round
// and round.
func (c Chart) colours() []int {
	of, ours, others := make([]int, len(c.Lines)), 0, 0
	for i, l := range c.Lines {
		switch {
		case l.Ours:
			of[i] = ours % oursColours
			ours++
		case l.Dashed:
			of[i] = len(palette) - 1
		default:
			of[i] = oursColours + others%(len(palette)-1-oursColours)
			others++
		}
	}
	return of
}

// places is the heights of names: that of the line's end, moved as little as keeps names
// apart.
func (c Chart) places(y scale) []float64 {
	at := make([]float64, len(c.Lines))
	order := make([]int, 0, len(c.Lines))
	for i, l := range c.Lines {
		if n := len(l.Points); n > 0 {
			at[i] = y.at(l.Points[n-1].Y)
			k := len(order)
			order = append(order, i)
			for ; k > 0 && at[order[k-1]] > at[i]; k-- {
				order[k] = order[k-1]
			}
			order[k] = i
		}
	}
	// Down from the top, then up from the bottom: at worst all stand one above the other.
	last := math.Inf(-1)
	for _, i := range order {
		at[i] = max(at[i], last+apart)
		last = at[i]
	}
	last = float64(height-bottom) + apart
	for k := len(order) - 1; k >= 0; k-- {
		at[order[k]] = min(at[order[k]], last-apart)
		last = at[order[k]]
	}
	return at
}
