package topology

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"time"
)

// Measures of a drawing, in pixels.
const (
	margins   = 24
	labels    = 110 // left of the lanes
	laneWidth = 1000
	trackHigh = 14
	laneGap   = 8
	heading   = 66
	arrowsMax = 3000 // more hide what they cross
)

// DrawSVG draws a picture as lanes over predicted time: one lane a rank, one row in it for
// each track, a bar for each step and an arrow for each message. Bars are dark where what
// arrives is folded.
func DrawSVG(out io.Writer, p Picture) error {
	d := newDrawing(p)
	b := bufio.NewWriter(out)
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="system-ui, sans-serif" font-size="11">`+"\n", d.width, d.height)
	fmt.Fprint(b, `<defs><marker id="tip" viewBox="0 0 6 6" refX="6" refY="3" markerWidth="5" markerHeight="5" orient="auto"><path d="M0 0L6 3L0 6z" fill="#c2410c"/></marker></defs>`+"\n")
	fmt.Fprintf(b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", d.width, d.height)
	fmt.Fprintf(b, `<text x="%d" y="%d" font-size="15">%s</text>`+"\n", margins, margins+4, p.Title())
	fmt.Fprintf(b, `<text x="%d" y="%d" fill="#555">bars: <tspan fill="#1d4ed8">fold what arrives</tspan>, <tspan fill="#60a5fa">store what arrives</tspan>, <tspan fill="#9ca3af">only send</tspan>; arrows: <tspan fill="#c2410c">to another host</tspan>, <tspan fill="#9ca3af">on the host</tspan></text>`+"\n", margins, margins+22)
	d.lanes(b)
	d.bars(b)
	d.arrows(b)
	fmt.Fprint(b, "</svg>\n")
	return b.Flush()
}

type drawing struct {
	Picture
	events        []Event
	tops          []int // of each rank's lane
	rows          int   // in a lane
	width, height int
	end           time.Duration
}

func newDrawing(p Picture) *drawing {
	d := &drawing{Picture: p, events: p.busy(), rows: 1}
	for _, plan := range p.Plans {
		d.rows = max(d.rows, len(plan.Tracks))
	}
	for _, e := range d.events {
		d.end = max(d.end, e.End)
	}
	d.end = max(d.end, 1)
	for rank := range p.Plans {
		d.tops = append(d.tops, heading+rank*(d.rows*trackHigh+laneGap))
	}
	d.width = 2*margins + labels + laneWidth
	d.height = heading + len(p.Plans)*(d.rows*trackHigh+laneGap) + 2*margins
	return d
}

func (d *drawing) x(t time.Duration) float64 {
	return margins + labels + laneWidth*float64(t)/float64(d.end)
}

// middle is the height of a track's row.
func (d *drawing) middle(rank, track int) int {
	return d.tops[rank] + track*trackHigh + trackHigh/2
}

func (d *drawing) lanes(b io.Writer) {
	for rank, host := range d.World.Hosts {
		shade := "#f3f4f6"
		if host%2 == 1 {
			shade = "#e5e7eb"
		}
		fmt.Fprintf(b, `<rect x="%d" y="%d" width="%d" height="%d" fill="%s"/>`, margins, d.tops[rank], labels+laneWidth, d.rows*trackHigh, shade)
		fmt.Fprintf(b, `<text x="%d" y="%d">rank %d, host %d</text>`+"\n", margins+6, d.tops[rank]+12, rank, host)
	}
	bottom := d.height - 2*margins
	for i := range 11 {
		at := d.end * time.Duration(i) / 10
		fmt.Fprintf(b, `<path d="M%.1f %dV%d" stroke="#d1d5db"/>`, d.x(at), heading-4, bottom)
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle" fill="#555">%v</text>`+"\n", d.x(at), bottom+14, round(at))
	}
}

func (d *drawing) bars(b io.Writer) {
	for _, e := range d.events {
		s := d.step(e)
		fill := "#d1d5db"
		switch {
		case e.RecvBytes > 0 && s.Reduce:
			fill = "#1d4ed8"
		case e.RecvBytes > 0:
			fill = "#60a5fa"
		}
		fmt.Fprintf(b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s" stroke="#fff" stroke-width="0.5"><title>rank %d track %d step %d: %v to %v`,
			d.x(e.Start), d.middle(e.Rank, e.Track)-4, d.x(e.End)-d.x(e.Start), 8, fill, e.Rank, e.Track, e.Step, round(e.Start), round(e.End))
		if e.SendBytes > 0 {
			fmt.Fprintf(b, `; %s (%s) to %d`, chunks(s.Send), size(e.SendBytes), s.SendTo)
		}
		if e.RecvBytes > 0 {
			fmt.Fprintf(b, `; %s (%s) from %d`, chunks(s.Recv), size(e.RecvBytes), s.RecvFrom)
		}
		fmt.Fprint(b, "</title></rect>\n")
	}
}

// arrows joins the k-th message from a rank to a peer on a track with the k-th that the
// peer receives from it there.
func (d *drawing) arrows(b io.Writer) {
	type lane struct{ from, to, track int }
	sent := make(map[lane][]Event)
	events := slices.Clone(d.events)
	slices.SortFunc(events, func(a, b Event) int {
		return cmp.Or(cmp.Compare(a.Track, b.Track), cmp.Compare(a.Rank, b.Rank), cmp.Compare(a.Step, b.Step))
	})
	for _, e := range events {
		if e.SendBytes > 0 {
			l := lane{e.Rank, d.step(e).SendTo, e.Track}
			sent[l] = append(sent[l], e)
		}
	}
	drawn := 0
	for _, e := range events {
		if e.RecvBytes == 0 {
			continue
		}
		l := lane{d.step(e).RecvFrom, e.Rank, e.Track}
		m := sent[l][0]
		sent[l] = sent[l][1:]
		if drawn++; drawn > arrowsMax {
			continue
		}
		look := `stroke="#9ca3af" stroke-width="0.6"`
		if d.World.Hosts[l.from] != d.World.Hosts[l.to] {
			look = `stroke="#c2410c" stroke-width="0.8" marker-end="url(#tip)"`
		}
		fmt.Fprintf(b, `<path d="M%.1f %dL%.1f %d" %s/>`+"\n", d.x(m.Start), d.middle(l.from, e.Track), d.x(e.End), d.middle(l.to, e.Track), look)
	}
	if more := drawn - arrowsMax; more > 0 {
		fmt.Fprintf(b, `<text x="%d" y="%d" fill="#555">%d more messages have no arrow</text>`+"\n", margins, d.height-8, more)
	}
}
