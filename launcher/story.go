package launcher

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
)

// storyEvents is how many events are kept; the oldest go. An answer takes up to storyAnswer.
const (
	storyEvents = 4096
	storyAnswer = 256
)

// story is what has happened to a job, an event at a time, for who asks later or from
// elsewhere. Events are numbered from 0. A nil story takes nothing down.
type story struct {
	job  string
	lost map[string]bool // hosts; used by see only

	mu     sync.Mutex
	first  uint64 // number of the oldest that is kept
	events []control.Event
	more   chan struct{}
	end    *control.End
}

func newStory(job string) *story { return &story{job: job, lost: map[string]bool{}} }

// see takes down what an event was to a job that has just handled it, and what it decided.
func (s *story) see(e event, acts []act, j *job, now time.Time) {
	if s == nil {
		return
	}
	of := func(kind string) control.Event {
		return control.Event{T: unixSeconds(now), Job: s.job, Event: kind, Generation: j.gen.ID, Size: len(j.gen.Members), Step: j.steps, Rank: -1}
	}
	switch e := e.(type) {
	case evDrained:
		if c := j.members[e.member]; c != nil && (c.remedy != "" || j.cause != nil && j.cause.member == c.member) {
			cause, _ := causeOf(c, j.steps)
			lost := of(control.EventRankLost)
			if c.remedy == "" {
				cause.Times = j.cause.Times
				if c.failure != nil && deterministic(*c.failure) {
					lost.Event = control.EventFailed // it was there to the end
				}
			}
			lost.Rank, lost.Host, lost.Detail = c.rank, c.host, oneLine(cause.String())+": "+c.remedy
			if c.remedy == "" {
				lost.Detail = oneLine(cause.String()) + ": the job ends"
			}
			s.add(lost)
		}
	case evStalled:
		ends := syscall.SIGQUIT // with its stack
		if e.silent {
			ends = syscall.SIGKILL
		}
		if c := j.members[e.member]; c != nil && slices.Contains(acts, act(actSignal{e.member, ends})) {
			cause, _ := causeOf(c, j.steps)
			stalled := of(control.EventStalled)
			stalled.Rank, stalled.Host, stalled.Detail = c.rank, c.host, oneLine(cause.String())+": it is ended"
			s.add(stalled)
		}
	case evHostLost:
		if site := j.siteOf(e.host); site >= 0 && !s.lost[e.host] && j.lost[site] != hasLeft {
			s.lost[e.host] = true
			host := j.Sites[site]
			lost := of(control.EventHostLost)
			lost.Host, lost.Detail = host, oneLine(e.why)
			if told := noteOf(acts, "host "+host+" was lost: "); told != "" {
				lost.Detail = told
			}
			s.add(lost)
		}
	case evStranded:
		for _, host := range j.Sites {
			if told := noteOf(acts, "host "+host+" was lost: "); told != "" {
				s.lost[j.agentOf(host)] = true
				lost := of(control.EventHostLost)
				lost.Host, lost.Detail = host, told
				s.add(lost)
			}
		}
	case evSaved:
		saved := of(control.EventSaved)
		saved.Step, saved.Detail = e.saved.Step, oneLine(e.saved.Path)
		s.add(saved)
	case evResize:
		resize := of(control.EventResize)
		if resize.Detail = noteOf(acts, "gorun resize "); resize.Detail != "" {
			s.add(resize)
		}
	case evSlow:
		slow := of(control.EventSlow)
		if told := noteOf(acts, "rank "); told != "" {
			c := j.members[e.Member]
			slow.Rank, slow.Host, slow.Detail = c.rank, c.host, "rank "+told
			s.add(slow)
		}
	case evSignal:
		stop := of(control.EventStop)
		stop.Detail = e.asked()
		s.add(stop)
	case evHostUp:
		up := of(control.EventHostJoined)
		if up.Host, up.Detail = e.host, noteOf(acts, "host "+e.host+" "); up.Detail != "" {
			up.Detail = "host " + e.host + " " + up.Detail
			s.add(up)
		}
	case evDrain:
		for _, host := range j.Sites {
			if told := noteOf(acts, "host "+host+" is to be left "); told != "" {
				drain := of(control.EventDrain)
				drain.Host, drain.Detail = host, "host "+host+" is to be left "+told
				s.add(drain)
			}
		}
	}
	for _, a := range acts {
		if n, ok := a.(actNote); ok && strings.HasSuffix(n.line, drainedNote) {
			drained := of(control.EventDrained)
			drained.Host, drained.Detail = strings.TrimSuffix(strings.TrimPrefix(n.line, "host "), drainedNote), n.line
			s.add(drained)
		}
		if t, ok := a.(actTrains); ok {
			training := of(control.EventTraining)
			training.Step, training.Seconds = t.step, t.after.Seconds()
			training.Detail = fmt.Sprintf("training again after %s, step %d", moment(training.Seconds), t.step)
			s.add(training)
		}
		if c, ok := a.(actCommit); ok {
			next := of(control.EventGeneration)
			if c.next.Done {
				next.Event = control.EventFinished
			}
			next.Generation, next.Size, next.Detail = c.next.ID, len(c.next.Members), c.next.Why
			s.add(next)
		}
	}
}

// noteOf is what a note among acts says after the words it begins with; "" for no such note.
func noteOf(acts []act, begins string) string {
	for _, a := range acts {
		if n, ok := a.(actNote); ok && strings.HasPrefix(n.line, begins) {
			return n.line[len(begins):]
		}
	}
	return ""
}

// begin takes down that a job has started.
func (s *story) begin(size, hosts int, command string, now time.Time) {
	s.add(control.Event{
		T: unixSeconds(now), Job: s.job, Event: control.EventStarted, Size: size, Rank: -1,
		Detail: fmt.Sprintf("%s on %s: %s", plural(size, "rank"), plural(hosts, "host"), oneLine(command)),
	})
}

// over takes down how the job has ended. Nothing happens after it.
func (s *story) over(v Verdict, now time.Time) {
	end, e := s.ended(v, now)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end = end
	s.append(e)
}

// whole is all events that are kept, with the job's end as the last, before it is over.
func (s *story) whole(v Verdict, now time.Time) []control.Event {
	_, e := s.ended(v, now)
	s.mu.Lock()
	defer s.mu.Unlock()
	return append(slices.Clone(s.events), e)
}

// ended is a verdict for those who ask, and as an event.
func (s *story) ended(v Verdict, now time.Time) (*control.End, control.Event) {
	end := &control.End{OK: v.OK, Status: v.Status, Line: v.Line()}
	e := control.Event{
		T: unixSeconds(now), Job: s.job, Event: control.EventEnd, Generation: v.Generations, Step: v.Steps, Rank: -1,
		Status: &end.Status, Detail: end.Line, Flight: v.Flight,
	}
	if v.Cause != nil {
		e.Rank, e.Host = v.Cause.Rank, v.Cause.Host
	}
	if v.OK && e.Detail == "" {
		e.Detail = "every rank has ended with status 0"
	}
	return end, e
}

func (s *story) add(e control.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.append(e)
}

// append adds an event, under mu.
func (s *story) append(e control.Event) {
	if len(s.events) == storyEvents {
		s.events = slices.Delete(s.events, 0, 1)
		s.first++
	}
	s.events = append(s.events, e)
	if s.more != nil {
		close(s.more)
		s.more = nil
	}
}

// ending is how the job has ended; nil as long as it has not.
func (s *story) ending() *control.End {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.end
}

// read waits until there is the event with the number from, the job has ended or ctx has,
// and returns what there is.
func (s *story) read(ctx context.Context, from uint64) control.EventsReply {
	s.mu.Lock()
	for from >= s.first+uint64(len(s.events)) && s.end == nil && ctx.Err() == nil {
		if s.more == nil {
			s.more = make(chan struct{})
		}
		more := s.more
		s.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
		}
		s.mu.Lock()
	}
	defer s.mu.Unlock()
	after := s.first + uint64(len(s.events))
	begin := min(max(from, s.first), after) // who took over from another launcher may have fewer
	r := control.EventsReply{Next: min(begin+storyAnswer, after)}
	if begin > from {
		r.Missed = begin - from
	}
	r.Events = slices.Clone(s.events[begin-s.first : r.Next-s.first])
	if r.Next == after {
		r.End = s.end
	}
	return r
}

func unixSeconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }
