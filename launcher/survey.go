package launcher

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
)

// Survey is what several hosts can do for a job.
type Survey []HostHealth

// HostHealth is one host of a survey.
type HostHealth struct {
	Name     string   `json:"name"`
	Health   *Health  `json:"health,omitempty"` // nil where it can't be had
	Skew     float64  `json:"skew_seconds"`     // its clock, ahead of this one's
	Problems []string `json:"problems"`
}

// Examination is how a host is asked for its health: with the arguments for gorun there.
type Examination func(ctx context.Context, host string, args []string) ([]byte, error)

// ExamineHosts asks all hosts at once. Each is to reach this one at an address of it, on
// which it listens meanwhile.
func ExamineHosts(ctx context.Context, names []string, bind string, ask Examination) (Survey, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(bind, "0"))
	if err != nil {
		return nil, &Refusal{Status: control.StatusNoHost, Text: err.Error()}
	}
	defer func() { _ = l.Close() }() // whoever has connected says nothing
	_, mtu := interfaceOf(bind)
	all := make(Survey, len(names))
	var asked sync.WaitGroup
	for i, name := range names {
		asked.Go(func() {
			sent := time.Now()
			out, err := ask(ctx, name, []string{"doctor", "--json", "--dial", l.Addr().String()})
			all[i] = judge(name, out, err, mtu, sent, time.Now())
		})
	}
	asked.Wait()
	return all, nil
}

// judge reads a host's answer, which was asked for and came at these times.
func judge(name string, out []byte, err error, mtu int, asked, came time.Time) HostHealth {
	h := HostHealth{Name: name, Problems: []string{}}
	problem := func(format string, args ...any) { h.Problems = append(h.Problems, fmt.Sprintf(format, args...)) }
	var health Health
	if err == nil {
		if bad := json.Unmarshal(out, &health); bad != nil {
			err = fmt.Errorf("its gorun doctor says %.60q", out)
		}
	}
	if err != nil {
		problem("%s", oneLine(strings.TrimPrefix(err.Error(), name+": ")))
		return h
	}
	h.Health = &health
	for _, p := range health.Problems {
		if !strings.HasPrefix(p, "no go command") { // programs are built here
			problem("%s", p)
		}
	}
	// Its clock was read between the two times.
	before, after := float64(asked.UnixMicro())/1e6, float64(came.UnixMicro())/1e6
	switch {
	case health.Now < before:
		h.Skew = health.Now - before
	case health.Now > after:
		h.Skew = health.Now - after
	}
	if off := time.Duration(h.Skew * float64(time.Second)); off.Abs() > mostSkew {
		problem("its clock is %v off", off.Round(time.Second))
	}
	switch w := health.Way; {
	case w == nil:
	case w.Error != "":
		problem("it can't connect to this host: %s: a firewall? gorun needs all ports above 1024", w.Error)
	case mtu > 0 && w.MTU > 0 && w.MTU != mtu:
		problem("%s has an MTU of %d, this host's interface %d: large frames may be lost", w.Interface, w.MTU, mtu)
	}
	return h
}

// OK says whether all hosts can be used.
func (s Survey) OK() bool {
	for _, h := range s {
		if len(h.Problems) > 0 {
			return false
		}
	}
	return true
}

// Write shows a survey to people or machines.
func (s Survey) Write(w io.Writer, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(s)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "host\taddress\tcores\tmemory\tshm\tGPUs\tclock\t") // kept until Flush
	for _, h := range s {
		row := "–\t–\t–\t–\t–\t–"
		if x := h.Health; x != nil {
			from := "unknown"
			if x.Way != nil {
				from = x.Way.From
			}
			row = fmt.Sprintf("%s\t%d\t%s\t%s\t%d\t%+.1f s", from, x.UsableCores, size(x.FreeMemoryBytes), size(x.FreeSharedBytes), len(x.GPUs), h.Skew)
		}
		state := "ok"
		if len(h.Problems) > 0 {
			state = strings.Join(h.Problems, "; ")
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\n", h.Name, row, state)
	}
	return t.Flush()
}
