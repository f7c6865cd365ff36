package plot

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// Table writes times as a Markdown table: a row a peer, a column a size, the best of each
// size bold. Ours are followed by their time over that of the best of the others: below 1
// we are faster. Limits come last.
func Table(out io.Writer, m *Measured, ours string, limits []Limit) error {
	b := bufio.NewWriter(out)
	fmt.Fprintf(b, "| np %d, µs |", m.Ranks)
	for _, bytes := range m.Sizes {
		fmt.Fprintf(b, " %s |", Size(bytes))
	}
	fmt.Fprintf(b, "\n|---|%s\n", strings.Repeat("---|", len(m.Sizes)))
	for _, first := range []bool{true, false} {
		for _, peer := range m.Peers {
			if isOurs(peer, ours) != first {
				continue
			}
			fmt.Fprintf(b, "| %s |", strings.ReplaceAll(peer, "|", `\|`))
			for _, bytes := range m.Sizes {
				fmt.Fprintf(b, " %s |", m.cell(peer, bytes, ours))
			}
			fmt.Fprintln(b)
		}
	}
	for _, l := range limits {
		fmt.Fprintf(b, "| *%s* |", l.Name)
		for _, bytes := range m.Sizes {
			text := "–"
			if us, ok := l.Times[bytes]; ok {
				text = "*" + micros(us) + "*"
			}
			fmt.Fprintf(b, " %s |", text)
		}
		fmt.Fprintln(b)
	}
	return b.Flush()
}

// cell is a time, bold if none is less, with the ratio where it is ours.
func (m *Measured) cell(peer string, bytes int64, ours string) string {
	us, ok := m.Time(peer, bytes)
	if !ok {
		return "–"
	}
	least, others := math.Inf(1), math.Inf(1)
	for _, p := range m.Peers {
		if other, ok := m.Time(p, bytes); ok {
			least = min(least, other)
			if !isOurs(p, ours) {
				others = min(others, other)
			}
		}
	}
	text := micros(us)
	if us == least {
		text = "**" + text + "**"
	}
	if isOurs(peer, ours) && !math.IsInf(others, 1) {
		text += fmt.Sprintf(" (%s×)", strconv.FormatFloat(us/others, 'f', 2, 64))
	}
	return text
}

// micros is microseconds with one decimal below a thousand and in groups of three above.
func micros(us float64) string {
	if us < 1000 {
		return strconv.FormatFloat(us, 'f', 1, 64)
	}
	digits := strconv.FormatFloat(us, 'f', 0, 64)
	var grouped strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			grouped.WriteString("\u202f")
		}
		grouped.WriteRune(d)
	}
	return grouped.String()
}
