package launcher

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
)

// Account is a job's story added up, from its events.
type Account struct {
	Job         string          `json:"job"`
	Started     float64         `json:"started"` // Unix seconds
	Seconds     float64         `json:"seconds"` // to its end, or to its newest event
	Generations uint64          `json:"generations"`
	Steps       int             `json:"steps"`
	RanksLost   int             `json:"ranks_lost"`
	HostsLost   int             `json:"hosts_lost"`
	Stalls      int             `json:"stalls"`         // ranks that hung
	Repair      float64         `json:"repair_seconds"` // without a step, after losses
	Checkpoints int             `json:"checkpoints"`
	Resizes     int             `json:"resizes"`
	Missed      uint64          `json:"missed,omitempty"` // events that weren't kept
	Ended       bool            `json:"ended"`
	Status      *int            `json:"status,omitempty"`
	End         string          `json:"end,omitempty"`
	Flight      string          `json:"flight,omitempty"` // folder of what ranks did last before failures
	Events      []control.Event `json:"events"`
}

// account adds events up. Their order is that in which they happened.
func account(events []control.Event, missed uint64) Account {
	a := Account{Events: events, Missed: missed}
	if len(events) == 0 {
		return a
	}
	a.Job, a.Started = events[0].Job, events[0].T
	for _, e := range events {
		a.Seconds = e.T - a.Started
		a.Steps = max(a.Steps, e.Step)
		switch e.Event {
		case control.EventRankLost, control.EventHostLost:
			if e.Event == control.EventRankLost {
				a.RanksLost++
			} else {
				a.HostsLost++
			}
		case control.EventStalled:
			a.Stalls++
		case control.EventTraining:
			a.Repair += e.Seconds
		case control.EventGeneration:
			a.Generations = max(a.Generations, e.Generation)
		case control.EventSaved:
			a.Checkpoints++
		case control.EventResize:
			a.Resizes++
		case control.EventEnd:
			a.Generations = max(a.Generations, e.Generation)
			a.Ended, a.Status, a.End, a.Flight = true, e.Status, e.Detail, e.Flight
		}
	}
	return a
}

// write tells the account to people: when what happened, what it cost, how it ended.
func (a Account) write(w io.Writer) error {
	if len(a.Events) == 0 {
		_, err := fmt.Fprintln(w, "nothing has happened yet")
		return err
	}
	p := &printer{w: w}
	p.line("job %s · %s", a.Job, time.UnixMicro(int64(a.Started*1e6)).Format("2006-01-02 15:04:05"))
	if a.Missed > 0 {
		p.line("%s missing: the newest are kept", plural(int(a.Missed), "event"))
	}
	lost := 0.0
	for i, e := range a.Events {
		text := eventLine(e)
		switch e.Event {
		case control.EventEnd:
			continue // the last line
		case control.EventFinished:
			text = "finished: " + text
		case control.EventSaved:
			if i+1 < len(a.Events) && a.Events[i+1].Event == control.EventSaved {
				continue // of several in a row the newest counts
			}
			if n := inARow(a.Events[:i+1]); n > 1 {
				text = fmt.Sprintf("%d checkpoints saved, the newest of step %d: %s", n, e.Step, e.Detail)
			}
		case control.EventRankLost, control.EventHostLost:
			if lost == 0 {
				lost = e.T
			}
		case control.EventGeneration:
			if lost > 0 {
				text += fmt.Sprintf(" (%s after the loss)", moment(e.T-lost))
			}
			lost = 0
		}
		p.line("%12s  %s", "+"+moment(e.T-a.Started), text)
	}
	p.line("%s", a.sum())
	if a.Flight != "" {
		p.line("what ranks did last before failures: %s", a.Flight)
	}
	switch {
	case !a.Ended:
		p.line("still running")
	case a.Status != nil && *a.Status != 0:
		p.line("ended with status %d after %s: %s", *a.Status, lasted(seconds(a.Seconds)), a.End)
	default:
		p.line("ended well after %s: %s", lasted(seconds(a.Seconds)), a.End)
	}
	return p.err
}

// sum is what there was of each, and what losses cost.
func (a Account) sum() string {
	text := fmt.Sprintf("%s · %s · %s", plural(int(a.Generations), "generation"), plural(a.Steps, "step"), plural(a.Checkpoints, "checkpoint"))
	if a.Resizes > 0 {
		text += " · asked to resize " + plural(a.Resizes, "time")
	}
	if a.RanksLost+a.HostsLost == 0 {
		return text + " · nothing lost"
	}
	if a.RanksLost > 0 {
		text += " · " + plural(a.RanksLost, "rank") + " lost"
	}
	if a.HostsLost > 0 {
		text += " · " + plural(a.HostsLost, "host") + " lost"
	}
	if a.Repair > 0 {
		text += ", " + moment(a.Repair) + " until training went on"
	}
	return text
}

// inARow is how many of the last events are checkpoints.
func inARow(events []control.Event) (n int) {
	for i := len(events) - 1; i >= 0 && events[i].Event == control.EventSaved; i-- {
		n++
	}
	return n
}

// moment writes seconds to the millisecond as long as they are few.
func moment(s float64) string {
	if s < 60 {
		return fmt.Sprintf("%.3f s", s)
	}
	return lasted(seconds(s))
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// printer writes lines until one can't be written.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

// Explain tells the story of a job that is running, or that its keepers still tell of.
func Explain(ctx context.Context, f Found, asJSON bool, w io.Writer) error {
	v, err := f.visit(ctx)
	if err != nil {
		return err
	}
	defer v.Close()
	var all []control.Event
	missed := uint64(0)
	for q := (control.EventsRequest{}); ; {
		r, err := v.Events(ctx, q)
		if err != nil {
			return f.unanswered(err)
		}
		missed += r.Missed
		all = append(all, r.Events...)
		if r.End != nil || len(r.Events) < storyAnswer {
			told := account(all, missed)
			if !told.Ended {
				told.Steps, err = newest(ctx, v, told.Steps)
			}
			if err != nil {
				return f.unanswered(err)
			}
			return told.tell(w, asJSON)
		}
		q.From = r.Next
	}
}

// newest is the step that a running job has come to, at least so many: most steps are no
// event.
func newest(ctx context.Context, v *control.Visitor, steps int) (int, error) {
	var ranks []RankState
	data, err := v.PS(ctx)
	if err == nil {
		err = json.Unmarshal(data, &ranks)
	}
	for _, r := range ranks {
		steps = max(steps, r.Step)
	}
	return steps, err
}

// tell writes the account for people or, as one object, for machines.
func (a Account) tell(w io.Writer, asJSON bool) error {
	var err error
	if asJSON {
		lines := json.NewEncoder(w)
		lines.SetEscapeHTML(false) // commands are easier to read as they were typed
		err = lines.Encode(a)
	} else {
		err = a.write(w)
	}
	if err != nil {
		return writing(err)
	}
	return nil
}
