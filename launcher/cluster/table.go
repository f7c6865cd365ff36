package cluster

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// WriteHosts shows hosts to people or, as one array, to machines.
func WriteHosts(w io.Writer, hosts []HostInfo, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(hosts)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "name\taddress\tslots\tfree\tcores\tmemory\tGPUs\tjobs\tround trip\tlabels") // Flush returns the error
	for _, h := range hosts {
		_, _ = fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%s\t%s\t%d\t%s\t%s\n",
			h.Name, h.Addr, h.Slots, h.Free, h.Cores, memory(h.MemoryBytes), cmp.Or(showGPUs(h.GPUs), "-"), h.Jobs, trip(h.RTT), cmp.Or(showLabels(h.Labels, ","), "-"))
	}
	return t.Flush()
}

func memory(n uint64) string {
	switch {
	case n == 0:
		return "-"
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	}
	return fmt.Sprintf("%d MiB", n>>20)
}

// showGPUs says each kind once, with how many there are.
func showGPUs(names []string) string {
	var all []string
	for _, g := range countGPUs(names) {
		all = append(all, fmt.Sprintf("%d × %s", g.N, g.Name))
	}
	return strings.Join(all, "; ")
}

func trip(d time.Duration) string {
	if d <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f ms", d.Seconds()*1e3)
}
