package topology

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// shown is how many steps Describe lists; a plan beyond that is for machines.
const shown = 400

// Describe writes a picture as text: what each rank sends in all and to whom, then every
// step with its predicted times.
func Describe(out io.Writer, p Picture) error {
	buffer := bufio.NewWriter(out)
	fmt.Fprintf(buffer, "%s; plans verified\n", p.Title())
	if p.Why != "" {
		fmt.Fprintf(buffer, "chosen for %s\n", p.Why)
	}
	describeRanks(buffer, p)
	describeSteps(buffer, p)
	return buffer.Flush()
}

func describeRanks(out io.Writer, p Picture) {
	type traffic struct {
		messages  int
		sent, far int64 // far: to other hosts
		peers     []int
	}
	ranks := make([]traffic, p.World.Size())
	for _, e := range p.Events {
		if e.SendBytes == 0 {
			continue
		}
		to, r := p.step(e).SendTo, &ranks[e.Rank]
		r.messages++
		r.sent += e.SendBytes
		if p.World.Hosts[to] != p.World.Hosts[e.Rank] {
			r.far += e.SendBytes
		}
		if !slices.Contains(r.peers, to) {
			r.peers = append(r.peers, to)
		}
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "\nrank\thost\tmessages\tsends\tto other hosts\tto ranks\n")
	for rank, r := range ranks {
		slices.Sort(r.peers)
		fmt.Fprintf(table, "%d\t%d\t%d\t%s\t%s\t%s\n", rank, p.World.Hosts[rank], r.messages, size(r.sent), size(r.far),
			strings.Trim(fmt.Sprint(r.peers), "[]"))
	}
	table.Flush()
}

func describeSteps(out io.Writer, p Picture) {
	events := p.busy()
	slices.SortFunc(events, func(a, b Event) int {
		return cmp.Or(cmp.Compare(a.Rank, b.Rank), cmp.Compare(a.Track, b.Track), cmp.Compare(a.Step, b.Step))
	})
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "\nrank\ttrack\tstep\tfrom\tuntil\tsends\treceives\n")
	for i, e := range events {
		if i == shown {
			break
		}
		s := p.step(e)
		sends, receives := "", ""
		if e.SendBytes > 0 {
			sends = fmt.Sprintf("%s to %d", chunks(s.Send), s.SendTo)
		}
		if e.RecvBytes > 0 {
			verb := "stores"
			if s.Reduce {
				verb = "folds"
			}
			receives = fmt.Sprintf("%s %s from %d", verb, chunks(s.Recv), s.RecvFrom)
		}
		fmt.Fprintf(table, "%d\t%d\t%d\t%v\t%v\t%s\t%s\n", e.Rank, e.Track, e.Step, round(e.Start), round(e.End), sends, receives)
	}
	table.Flush()
	if more := len(events) - shown; more > 0 {
		fmt.Fprintf(out, "… and %d more steps\n", more)
	}
}

// chunks is a span as people write it, last chunk included.
func chunks(s Span) string {
	if s.Hi == s.Lo+1 {
		return fmt.Sprintf("chunk %d", s.Lo)
	}
	return fmt.Sprintf("chunks %d–%d", s.Lo, s.Hi-1)
}
