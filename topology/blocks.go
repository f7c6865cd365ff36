package topology

// blocks is what each member of a group ends a reduce-scatter with: member i has span
// at(i). It is a rule where that can be, so that the plan of one rank of thousands costs
// no list of thousands.
type blocks struct {
	lo, n int    // one chunk each, of buffer 0, from lo on
	ranks []int  // instead: the chunk that has the number of the member's rank
	spans []Span // instead: these
}

// units is n one-chunk blocks of buffer 0 from chunk lo on.
func units(lo, n int) blocks { return blocks{lo: lo, n: n} }

// own is the one-chunk block of each member of the group where chunk r is rank r's.
func (g group) own() blocks { return blocks{n: len(g.ranks), ranks: g.ranks} }

// size is the number of blocks.
func (b blocks) size() int { return b.n }

// at is block i.
func (b blocks) at(i int) Span {
	switch {
	case b.spans != nil:
		return b.spans[i]
	case b.ranks != nil:
		return Span{0, b.ranks[i], b.ranks[i] + 1}
	}
	return Span{0, b.lo + i, b.lo + i + 1}
}

// join is blocks [i, j), which lie one behind the other.
func (b blocks) join(i, j int) Span {
	first, last := b.at(i), b.at(j-1)
	return Span{first.Buf, first.Lo, last.Hi}
}
