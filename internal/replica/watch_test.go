package replica

import (
	"testing"
	"time"
)

func TestWatch(t *testing.T) {
	now := time.Unix(1000, 0)
	w := newWatch(now)
	if w.due(now.Add(-1), time.Time{}) || !w.due(now.Add(spread), time.Time{}) {
		t.Errorf("want a first look within %v of the start", spread)
	}
	for range 100 {
		contact := now.Add(time.Minute)
		now = contact
		if w.due(contact.Add(silence-1), contact) {
			t.Errorf("it looks before %v have passed", silence)
		}
		if !w.due(contact.Add(silence+spread), contact) {
			t.Errorf("it doesn't look when %v have passed", silence+spread)
		}
		if w.due(contact.Add(silence+spread+silence-1), contact) {
			t.Errorf("it looks again before %v have passed", silence)
		}
	}
}
