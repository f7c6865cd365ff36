package topology

import "fmt"

// Picture is one operation laid out for people to look at: Describe writes it as text,
// DrawSVG as a drawing.
type Picture struct {
	World      World
	Collective Collective
	Name       string // of the algorithm
	Why        string // why this algorithm, empty where it was asked for
	Bytes      int64
	Plans      []Plan
	Events     []Event
}

// NewPicture plans c with the named algorithm, or the one that Select chooses where name
// is empty, verifies the plans and predicts their course.
func NewPicture(w World, c Collective, name string, bytes int64, l Links) (Picture, error) {
	p := Picture{World: w, Collective: c, Name: name, Bytes: bytes}
	if w.Size() == 0 {
		return p, fmt.Errorf("topology: a world of 0 ranks: want one or more")
	}
	if c.rooted() && (c.Root < 0 || c.Root >= w.Size()) {
		return p, fmt.Errorf("topology: root %d is not a rank: want 0 to %d", c.Root, w.Size()-1)
	}
	var a Algorithm
	if name == "" {
		choice := Select(w, c, bytes, l)
		p.Name, p.Why, a = choice.Name, choice.Why, choice.Algorithm
	} else {
		n, err := Find(c.Kind, name)
		if err != nil {
			return p, err
		}
		a = n.Algorithm(c.Root)
	}
	p.Plans = Plans(w, a)
	if err := Verify(c, p.Plans); err != nil {
		return p, fmt.Errorf("%s: %w", p.Name, err)
	}
	p.Events = Timeline(w, p.Plans, bytes, l)
	return p, nil
}

// Title says what the picture shows and the predicted time.
func (p Picture) Title() string {
	end := Event{}
	if len(p.Events) > 0 {
		end = p.Events[len(p.Events)-1]
	}
	return fmt.Sprintf("%v of %s by %s, %v, predicted %v", p.Collective.Kind, size(p.Bytes), p.Name, p.World, round(end.End))
}

// busy is the events of steps that move bytes in this run.
func (p Picture) busy() []Event {
	var busy []Event
	for _, e := range p.Events {
		if e.SendBytes > 0 || e.RecvBytes > 0 {
			busy = append(busy, e)
		}
	}
	return busy
}

func (p Picture) step(e Event) Step { return p.Plans[e.Rank].Tracks[e.Track][e.Step] }
