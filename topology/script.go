package topology

// script is plans as a simulation needs them: bytes in place of spans, and what each half
// of a step waits for. It keeps nothing of the plans that it was made from, so that those of
// thousands of ranks need not exist at the same time.
type script struct {
	world  World
	links  *Links
	bounds []int64 // bytes before each chunk
	wheel  wheel
	keep   bool // steps that move nothing too, so that steps have their numbers

	first  []int32 // number of each rank's first track; one entry more than ranks
	tracks []trackOf
	moves  []move
	refs   []Ref
	costs  []Link // of moves

	host   []int32        // of each rank that is simulated, counted from 0 without gaps
	rack   []int32        // of each rank that is simulated
	pairs  map[Link]int32 // position in costs
	chunks int
}

// trackOf is one track of one rank: moves [lo, hi).
type trackOf struct {
	rank, lo, hi int32 // the rank by its number in the simulation
	inline       bool  // each step sends first and then receives
}

// move is one step. Its two halves go on by themselves: what is sent must have been received
// before, and a track sends in order and receives in order.
type move struct {
	out, in  int64 // bytes; 0 where nothing is sent or received
	to       int32 // number of the rank that takes it
	key      int32 // who the receiver takes this rank for
	from     int32 // the key of whom this rank receives from
	behind   int32 // the last move before that received some of what is sent; −1 if none did
	refs     int32 // where the steps of After begin in refs
	link     int32 // position in costs
	after    uint16
	exact    bool // behind receives just what is sent, so that it is passed on piece by piece
	apart    bool // what arrives is folded into what is sent
	reduce   bool
	far      bool // to another host
	farthest bool // to another rack
}

// newScript writes the script of a world's operation; bytes are cut as cuts says.
func newScript(w World, l *Links, bytes int64, shape Plan, turn wheel) *script {
	if len(shape.Tracks) > 1 {
		l = l.inTracks()
	}
	s := &script{world: w, links: l, bounds: cuts(bytes, shape), wheel: turn, chunks: shape.Chunks, pairs: make(map[Link]int32)}
	n := turn.size(w)
	s.host, s.rack = make([]int32, n), make([]int32, n)
	for h, ranks := range w.ByHost() {
		for _, rank := range ranks {
			if number := turn.number(rank); number < n {
				s.host[number], s.rack[number] = int32(h), int32(l.rack(w.Hosts[rank]))
			}
		}
	}
	return s
}

// add appends a rank's plan. Ranks are added in the order of their numbers.
func (s *script) add(p Plan) {
	s.first = append(s.first, int32(len(s.tracks)))
	widest := 0
	for _, steps := range p.Tracks {
		for i := range steps {
			if steps[i].SendTo != None {
				widest = max(widest, steps[i].Send.Hi-steps[i].Send.Lo)
			}
			if steps[i].RecvFrom != None {
				widest = max(widest, steps[i].Recv.Hi-steps[i].Recv.Lo)
			}
		}
	}
	inline := int64(widest)*s.longest() <= s.links.InlineBytes
	refs := len(s.refs)
	kept := make([][]int32, len(p.Tracks))
	for i, steps := range p.Tracks {
		kept[i] = s.track(p.Rank, steps, inline, len(p.Tracks) > 1)
	}
	// What waits for a step that is not kept waits for the one before.
	for i := refs; i < len(s.refs); i++ {
		if k := kept[s.refs[i].Track]; k != nil {
			s.refs[i].Step = int(k[s.refs[i].Step]) - 1 // −1: for none
		}
	}
}

// reserve makes room for n ranks whose plans are about as long as p.
func (s *script) reserve(n int, p Plan) {
	s.first = make([]int32, 0, n+1)
	s.tracks = make([]trackOf, 0, n*len(p.Tracks))
	moving := 0
	for _, steps := range p.Tracks {
		for i := range steps {
			if s.bytes(steps[i].SendTo, steps[i].Send) > 0 || s.bytes(steps[i].RecvFrom, steps[i].Recv) > 0 {
				moving++
			}
		}
	}
	s.moves = make([]move, 0, n*(moving+2))
}

// end is called when all ranks have been added.
func (s *script) end() { s.first = append(s.first, int32(len(s.tracks))) }

// longest is the bytes of the longest chunk.
func (s *script) longest() int64 {
	return 4 * ((s.bounds[s.chunks]/4 + int64(s.chunks) - 1) / int64(max(1, s.chunks)))
}

func (s *script) bytes(peer int, span Span) int64 {
	if peer == None {
		return 0
	}
	return s.bounds[span.Hi] - s.bounds[span.Lo]
}

// track appends a track. Steps that move nothing are left out unless all are to be kept;
// kept says, where others may ask, how many of the first steps were, for each step.
func (s *script) track(rank int, steps []Step, inline, asked bool) (kept []int32) {
	lo := len(s.moves)
	received := s.receipts(steps)
	if asked && !s.keep {
		kept = make([]int32, len(steps))
	}
	refs := len(s.refs) // of the steps left out since the last one that was kept, too
	for i := range steps {
		step := &steps[i]
		m := move{behind: -1, reduce: step.Reduce}
		m.out, m.in = s.bytes(step.SendTo, step.Send), s.bytes(step.RecvFrom, step.Recv)
		s.refs = append(s.refs, step.After...)
		if m.out > 0 || m.in > 0 || s.keep {
			m.refs, m.after = int32(refs), uint16(len(s.refs)-refs)
			refs = len(s.refs)
			s.move(rank, step, m, received)
		}
		if kept != nil {
			kept[i] = int32(len(s.moves) - lo)
		}
	}
	s.tracks = append(s.tracks, trackOf{int32(s.wheel.number(rank)), int32(lo), int32(len(s.moves)), inline})
	return kept
}

// move appends one step.
func (s *script) move(rank int, step *Step, m move, received *receipts) {
	if m.out > 0 {
		src, dst := s.world.Hosts[rank], s.world.Hosts[step.SendTo]
		m.to, m.key = s.wheel.sends(rank, step.SendTo)
		m.far, m.farthest = src != dst, s.links.rack(src) != s.links.rack(dst)
		m.link = s.cost(s.links.between(src, dst))
		m.behind, m.exact = received.last(step.Send)
	}
	if m.in > 0 {
		m.from = int32(s.wheel.number(step.RecvFrom))
		m.apart = m.out > 0 && overlap(step.Send, step.Recv)
		received.add(step.Recv, int32(len(s.moves)))
	}
	s.moves = append(s.moves, m)
}

// cost is the position of a link in costs.
func (s *script) cost(l Link) int32 {
	at, known := s.pairs[l]
	if !known {
		at = int32(len(s.costs))
		s.costs = append(s.costs, l)
		s.pairs[l] = at
	}
	return at
}

// receipts is what a track has received so far.
type receipts struct {
	// Where spans are few chunks wide, the last receipt of each chunk: one more than the
	// move, so that zero is none.
	chunks []receipt
	width  int // of a buffer
	// Otherwise all receipts, in order.
	list []receipt
}

type receipt struct {
	span Span
	move int32
}

// receipts starts a track: a table where that is less work than looking through a list.
func (s *script) receipts(steps []Step) *receipts {
	wide := 0
	for i := range steps {
		if steps[i].RecvFrom != None {
			wide += steps[i].Recv.Hi - steps[i].Recv.Lo
		}
		if steps[i].SendTo != None {
			wide += steps[i].Send.Hi - steps[i].Send.Lo
		}
	}
	r := &receipts{}
	if n := len(steps); n > 64 && wide+2*s.chunks < n*n/4 {
		r.width = s.chunks
		r.chunks = make([]receipt, 2*s.chunks)
	}
	return r
}

func (r *receipts) add(span Span, move int32) {
	if r.chunks == nil {
		r.list = append(r.list, receipt{span, move})
		return
	}
	for c := span.Lo; c < span.Hi; c++ {
		r.chunks[span.Buf*r.width+c] = receipt{span, move + 1}
	}
}

// last is the last receipt that overlaps a span, and whether it is of just that span.
func (r *receipts) last(span Span) (move int32, exact bool) {
	if r.chunks == nil {
		for i := len(r.list) - 1; i >= 0; i-- {
			if of := &r.list[i]; overlap(of.span, span) {
				return of.move, of.span == span
			}
		}
		return -1, false
	}
	found := receipt{}
	for c := span.Lo; c < span.Hi; c++ {
		if of := r.chunks[span.Buf*r.width+c]; of.move > found.move {
			found = of
		}
	}
	return found.move - 1, found.span == span
}

// cuts is where a plan's chunks begin if bytes are cut evenly between elements of four
// bytes. Chunks of an all-to-all are all rounded up: what one rank has for another has one
// length, under the number of either.
func cuts(bytes int64, p Plan) []int64 {
	elements, n := (bytes+3)/4, int64(p.Chunks)
	for _, steps := range p.Tracks {
		for i := range steps {
			if steps[i].RecvFrom != None && steps[i].Recv.Buf != 0 {
				elements = (elements + n - 1) / n * n
			}
		}
	}
	bounds := make([]int64, n+1)
	for c := range bounds {
		bounds[c] = 4 * (elements/n*int64(c) + elements%n*int64(c)/n)
	}
	return bounds
}
