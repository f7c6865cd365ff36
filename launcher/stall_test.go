package launcher

import (
	"slices"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
)

// life is what a rank's last pulse said, and how long ago.
type life struct {
	ago   time.Duration
	doing control.Doing
	since time.Duration // as the pulse said
}

func TestWhoHangs(t *testing.T) {
	const limit = 5 * time.Second
	fresh := 100 * time.Millisecond
	waits := life{fresh, control.Waits, 4 * time.Second}
	for name, c := range map[string]struct {
		ranks []life
		want  []string
	}{
		"all wait for one that is stopped":     {[]life{waits, waits, {4 * time.Second, control.Works, 0}}, []string{"2.1"}},
		"two are stopped":                      {[]life{waits, {5 * time.Second, control.Waits, 0}, {6 * time.Second, control.Works, 0}}, []string{"1.1", "2.1"}},
		"it may still come":                    {[]life{waits, waits, {3 * time.Second, control.Works, 0}}, nil},
		"nobody is held up":                    {[]life{{fresh, control.Waits, fresh}, {fresh, control.Works, fresh}, {9 * time.Second, control.Works, 0}}, nil},
		"all are out of hearing":               {[]life{{8 * time.Second, control.Waits, 0}, {8 * time.Second, control.Waits, 0}, {8 * time.Second, control.Works, 0}}, nil},
		"held up in the program's collectives": {[]life{{fresh, control.Works, 4 * time.Second}, {fresh, control.Works, 4 * time.Second}, {5 * time.Second, control.Works, 0}}, []string{"2.1"}},
		"one is long about its own":            {[]life{waits, waits, {fresh, control.Works, 61 * time.Second}}, []string{"2.1"}},
		"not so long":                          {[]life{waits, waits, {fresh, control.Works, 50 * time.Second}}, nil},
		"all are":                              {[]life{{fresh, control.Works, 2 * time.Minute}, {fresh, control.Works, 2 * time.Minute}, {fresh, control.Works, 2 * time.Minute}}, nil},
		"one writes a large file":              {[]life{waits, waits, {fresh, control.Saves, 2 * time.Minute}}, nil},
		"a file that is never written":         {[]life{waits, waits, {fresh, control.Saves, 6 * time.Minute}}, []string{"2.1"}},
		"all wait for each other":              {[]life{waits, waits, waits}, nil},
	} {
		p := started(t, nil)
		p.now = p.now.Add(time.Hour)
		s := newStalls(limit)
		for i, l := range c.ranks {
			s.hear(control.Pulse{Member: memberID(i, 1), Doing: l.doing, ForMS: float64(l.since.Milliseconds())}, p.now.Add(-l.ago))
		}
		var got []string
		for _, e := range s.find(p.job, p.now) {
			got = append(got, e.(evStalled).member)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v hang, want %v", name, got, c.want)
		}
	}
}

func TestWhoIsNotHeardOf(t *testing.T) {
	p := started(t, nil)
	s := newStalls(5 * time.Second)
	hear := func() {
		for _, m := range []string{"0.1", "1.1"} {
			s.hear(control.Pulse{Member: m, Doing: control.Waits, ForMS: 3000}, p.now)
		}
	}
	hear()
	if found := s.find(p.job, p.now); found != nil {
		t.Errorf("at the generation's start: %v", found)
	}
	p.now = p.now.Add(4 * time.Second)
	hear()
	if found := s.find(p.job, p.now); len(found) != 1 || found[0].(evStalled).member != "2.1" {
		t.Errorf("4 s later: %v", found)
	}
	if found := newStalls(0).find(p.job, p.now); found != nil {
		t.Errorf("without a limit: %v", found)
	}
}

func TestAStoppedRankIsReplaced(t *testing.T) {
	p := started(t, nil)
	p.tell(evStalled{"1.1", "gave no sign of life for 4s", true}).want("SIGKILL 1.1")
	p.tell(evStalled{"1.1", "gave no sign of life for 4s", true}).want()
	p.exit("1.1", killed).want("start 1.2", "note rank 1 (host h, pid 4712) gave no sign of life for 4s: starting it anew (restart 1 of 3)")
	p.register("1.2").want("commit 2: 0.1 2.1 1.2", "note generation 2: rank 1 (pid 4712 on h) died; replaced by pid 4714 as rank 2", "label 2.1 1", "label 1.2 2")
	p.tell(evStalled{"1.1", "gave no sign of life for 9s", true}).want()
}

func TestARankThatHangsSaysWhere(t *testing.T) {
	p := started(t, func(r *rules) { r.Restarts = 0 })
	p.tell(evStalled{"1.1", "kept others waiting for 1m0s (it is in its own code)", false}).
		want("note rank 1 (host h, pid 4712) kept others waiting for 1m0s (it is in its own code): where it is follows, then it is ended", "SIGQUIT 1.1")
	p.wait(2 * time.Second).want("SIGKILL 1.1") // it has not heard
	for _, m := range []string{"1.1", "0.1", "2.1"} {
		p.exit(m, killed)
	}
	if v := p.verdict(); v.Status != control.StatusTemporary || v.Cause.Kind != control.KindTimeout || v.Cause.Rank != 1 {
		t.Errorf("verdict %+v, cause %+v", v, v.Cause)
	}
}
