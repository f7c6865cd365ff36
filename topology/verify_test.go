package topology

import (
	"strings"
	"testing"
)

// plansOf is plans of one track a rank over one chunk a rank, or as many as given.
func plansOf(chunks int, tracks ...[]Step) []Plan {
	plans := make([]Plan, len(tracks))
	for rank, steps := range tracks {
		plans[rank] = Plan{Rank: rank, Size: len(tracks), Chunks: chunks, Tracks: [][]Step{steps}}
	}
	return plans
}

func TestVerifySaysWhatIsWrong(t *testing.T) {
	one := Span{0, 0, 1}
	twoTracks := func(after []Ref) []Plan {
		plans := plansOf(1, nil, nil)
		plans[0].Tracks = [][]Step{{send(1, one)}, {recv(1, one, false)}}
		plans[0].Tracks[1][0].After = after
		plans[1].Tracks = [][]Step{{recv(0, one, true)}, {{SendTo: 0, RecvFrom: None, Send: one, After: []Ref{{0, 0}}}}}
		return plans
	}
	circle := twoTracks([]Ref{{0, 0}})
	circle[0].Tracks[0][0].After = []Ref{{1, 0}}
	for _, c := range []struct {
		name  string
		of    Collective
		plans []Plan
		want  string // empty: nothing
	}{
		{"nobody", Collective{}, nil, "there are no plans"},
		{"no such operation", Collective{Kind: 99}, plansOf(1, nil), "no kind 99"},
		{"no such root", Collective{Kind: Broadcast, Root: 2}, plansOf(1, nil, nil), "root 2 is not a rank: want 0 to 1"},
		{"plan of another rank", Collective{}, []Plan{{Rank: 1, Size: 1, Chunks: 1}}, "rank 0: its plan is for rank 1"},
		{"plan of another world", Collective{}, []Plan{{Size: 2, Chunks: 1}}, "for 2 ranks"},
		{"no chunks", Collective{}, []Plan{{Size: 1}}, "0 chunks: want one or more"},
		{"chunks per rank", Collective{Kind: Gather}, plansOf(1, nil, nil), "1 chunks: want 2, one a rank"},
		{"one rank", Collective{}, plansOf(1, nil), ""},
		{"itself", Collective{}, plansOf(1, []Step{send(0, one)}, nil), "rank 0 track 0 step 0: sends to itself"},
		{"a stranger", Collective{}, plansOf(1, []Step{recv(2, one, true)}, nil), "rank 0 track 0 step 0: receives from rank 2, which is not one of 2"},
		{"beyond the end", Collective{}, plansOf(1, []Step{send(1, Span{0, 0, 2})}, nil), "sends to rank 1 chunks [0, 2) of 1"},
		{"nothing sent", Collective{}, plansOf(1, []Step{send(1, Span{0, 1, 1})}, nil), "chunks [1, 1) of 1"},
		{"another buffer", Collective{}, plansOf(1, []Step{send(1, Span{1, 0, 1})}, nil), "with buffer 1: want 0"},
		{"idle step", Collective{}, plansOf(1, []Step{{SendTo: None, RecvFrom: None}}, nil), "neither sends nor receives"},
		{"fold of nothing", Collective{}, plansOf(1, []Step{{SendTo: 1, RecvFrom: None, Send: one, Reduce: true}}, nil), "reduces but receives nothing"},
		{
			"overwritten while sent",
			Collective{},
			plansOf(1, []Step{{SendTo: 1, RecvFrom: 1, Send: one, Recv: one}}, nil),
			"rank 0 track 0 step 0: sends chunks [0, 1) while [0, 1) is overwritten",
		},
		{
			"both send first",
			Collective{},
			plansOf(1, []Step{send(1, one), recv(1, one, true)}, []Step{send(0, one), recv(0, one, true)}),
			"rank 0 track 0 step 0: deadlock: rank 0 track 0 step 0 waits to send to rank 1; rank 1 track 0 step 0 waits to send to rank 0",
		},
		{
			"nobody sends",
			Collective{},
			plansOf(1, nil, []Step{recv(0, one, true)}),
			"rank 1 track 0 step 0: deadlock: rank 1 track 0 step 0 waits to receive from rank 0; rank 0 has no more steps on track 0",
		},
		{
			"other chunks",
			Collective{},
			plansOf(3, []Step{send(1, Span{0, 0, 2})}, []Step{recv(0, Span{0, 1, 3}, true)}),
			"rank 1 track 0 step 0: receives chunks [1, 3) from rank 0, whose step 0 sends chunks [0, 2)",
		},
		{
			"left out",
			Collective{},
			plansOf(1, nil, nil),
			"rank 0: chunk 0 lacks the contribution of rank 1: 0",
		},
		{
			"twice",
			Collective{},
			plansOf(1, []Step{{SendTo: 1, RecvFrom: 1, Send: one, Recv: one, Reduce: true}, {SendTo: 1, RecvFrom: 1, Send: one, Recv: one, Reduce: true}},
				[]Step{{SendTo: 0, RecvFrom: 0, Send: one, Recv: one, Reduce: true}, {SendTo: 0, RecvFrom: 0, Send: one, Recv: one, Reduce: true}}),
			"rank 0: chunk 0 holds the contribution of rank 1 more than once: ((0+1)+(0+1))",
		},
		{
			"another order",
			Collective{},
			plansOf(1,
				[]Step{{SendTo: 1, RecvFrom: 1, Send: one, Recv: one, Reduce: true}, recv(2, one, true), send(2, one)},
				[]Step{{SendTo: 0, RecvFrom: 2, Send: one, Recv: one, Reduce: true}, recv(0, one, true)},
				[]Step{send(1, one), send(0, one), recv(0, one, false)}),
			"rank 1: chunk 0 is folded in another order than on rank 0: (0+(1+2)), there (2+(0+1))",
		},
		{
			"sent too early",
			Collective{Kind: Broadcast},
			plansOf(1, []Step{recv(1, one, false)}, []Step{send(0, one)}),
			"rank 1 track 0 step 0: sends chunk 0, which holds nothing yet, to rank 0",
		},
		{
			"folded into nothing",
			Collective{Kind: Broadcast},
			plansOf(1, []Step{send(1, one)}, []Step{recv(0, one, true)}),
			"rank 1 track 0 step 0: folds into chunk 0, which holds nothing yet",
		},
		{"not arrived", Collective{Kind: Broadcast}, plansOf(1, nil, nil), "rank 1: chunk 0 ends as nothing: want rank 0's"},
		{"tracks in order", Collective{}, twoTracks([]Ref{{0, 0}}), ""},
		{"a race", Collective{}, twoTracks(nil), "rank 0 track 1 step 0: races with step 0 of track 0 for chunk 0"},
		{"after itself", Collective{}, twoTracks([]Ref{{1, 0}}), "comes after step 0 of track 1, which is not a step of another track"},
		{"after nothing", Collective{}, twoTracks([]Ref{{0, 1}}), "comes after step 1 of track 0, which is not"},
		{"a circle", Collective{}, circle, "rank 0 track 0 step 0: waits for steps of other tracks that wait for it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			switch err := Verify(c.of, c.plans); {
			case c.want == "" && err != nil:
				t.Errorf("got %v, want nothing", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func FuzzExpressions(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5})
	f.Fuzz(func(t *testing.T, order []byte) {
		e := newExpressions(8)
		type pair struct{ a, b expression }
		seen := make(map[pair]expression)
		for i := 0; i+1 < len(order); i += 2 {
			a, b := expression(int(order[i])%len(e.nodes)), expression(int(order[i+1])%len(e.nodes))
			n := e.fold(a, b)
			if e.fold(b, a) != n {
				t.Fatalf("%d+%d and %d+%d differ", a, b, b, a)
			}
			if was, again := seen[pair{a, b}]; again && was != n {
				t.Fatalf("%d+%d was %d, now %d", a, b, was, n)
			}
			seen[pair{a, b}], seen[pair{b, a}] = n, n
		}
		distinct := make(map[expression]bool)
		for _, n := range seen {
			distinct[n] = true
		}
		if len(distinct) != len(e.nodes)-8 {
			t.Fatalf("%d nodes for %d folds", len(e.nodes)-8, len(distinct))
		}
	})
}

func BenchmarkVerifyRingOf1024(b *testing.B) {
	plans := Plans(Uniform(1024, 128), Ring)
	for b.Loop() {
		if err := Verify(Collective{Kind: AllReduce}, plans); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSelect(b *testing.B) {
	for _, w := range []World{Uniform(4, 1), Uniform(32, 4), Uniform(128, 16)} {
		b.Run(w.String(), func(b *testing.B) {
			for b.Loop() {
				Select(w, Collective{}, 1<<20, TenGigabit())
			}
		})
	}
}
