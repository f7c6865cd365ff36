package collective

import (
	"cmp"
	"slices"
	"time"

	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/kernels"
)

// Flown is an operation that a rank has begun, as its flight recorder knows it.
type Flown struct {
	Operation string // all-reduce
	Name      string // what the caller calls it; may be empty
	Type      string // of the elements; "" for an operation that has none
	Bytes     int64  // of the whole operation
	Group     uint64 // number of the group, 0 for all ranks
	Lane      int
	Seq       uint32 // operations of that lane before it
	Step      int    // that At was told before
	Begun     time.Time
	Ended     time.Time // zero while it is under way, and where it has failed
}

// flownBack is how many operations Flight tells of.
const flownBack = 256

// span is when an operation of a record was under way, since the watch began. It lies beside
// the operation's tag, so that noting it takes two looks at the clock and nothing else.
type span struct {
	begun, ended time.Duration
	step         int64
	name         string
	over         bool // and well
}

// At says that operations from now on belong to a step, for Flight.
func (c *Comm) At(step int) { c.core.step.Store(int64(step)) }

// Flight is the last operations of this rank in the order in which they began: of c, and of
// all communicators that share its mesh and are not closed. It may be called at any time,
// also after a failure.
func (c *Comm) Flight() []Flown {
	w := c.core.watch
	w.mu.Lock()
	records := make([]*record, 0, len(w.records))
	for _, r := range w.records {
		records = append(records, r)
	}
	w.mu.Unlock()
	var all []Flown
	for _, r := range records {
		all = r.flown(all, w.began)
	}
	slices.SortFunc(all, func(a, b Flown) int { return cmp.Or(a.Begun.Compare(b.Begun), cmp.Compare(a.Lane, b.Lane)) })
	return all[max(0, len(all)-flownBack):]
}

// flown adds what a record remembers.
func (r *record) flown(all []Flown, began time.Time) []Flown {
	r.mu.Lock()
	defer r.mu.Unlock()
	for seq := r.begun - min(r.begun, memory); seq != r.begun; seq++ {
		tag, s := r.tags[seq%memory], r.spans[seq%memory]
		f := Flown{
			Operation: kind(tag.Kind).String(), Name: s.name, Type: element(tag), Bytes: int64(sizeOf(tag)),
			Group: r.key.group, Lane: int(r.key.lane), Seq: seq, Step: int(s.step), Begun: began.Add(s.begun),
		}
		if s.over {
			f.Ended = began.Add(s.ended)
		}
		all = append(all, f)
	}
	return all
}

// element is the type of an operation's elements.
func element(t transport.Tag) string {
	if ty := kernels.Type(t.Type); ty >= kernels.Float32 && ty <= kernels.Uint8 {
		return ty.String()
	}
	return ""
}
