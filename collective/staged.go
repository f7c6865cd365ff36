package collective

import (
	"github.com/gorun-ml/gorun/kernels"
)

// swap is the all-reduce of two ranks whose vectors others can't reach: each copies its own
// to its area, piece by piece, and folds the other's pieces into its own. While a rank folds
// piece k the other may be copying piece k+1:
//
//	copy 0, tick, copy 1, tick, fold 0, copy 2, tick, fold 1, …
//
// Piece k takes the place of piece k−4. The other has ended its fold of that before its
// tick of piece k−2, which this rank has awaited to fold its own.
func (s *shared) swap(x kernels.Vector, op kernels.Op) error {
	fold := kernels.Folder(op, x.Type)
	mine, theirs := s.stages(s.me), s.stages(1-s.me)
	piece := min(stageBytes, len(mine)/stages) &^ 63
	count := (len(x.Bytes) + piece - 1) / piece
	at := func(k int) []byte { return x.Bytes[k*piece : min((k+1)*piece, len(x.Bytes))] }
	first := s.tick + 1 // the tick of piece 0
	for k := range count + 1 {
		if k < count {
			copy(mine[k%stages*piece:], at(k))
			s.publish()
		}
		if k > 0 {
			p := at(k - 1)
			if err := s.board.Await(s.ranks[1-s.me], first+uint32(k-1)); err != nil {
				return err
			}
			fold(p, theirs[(k-1)%stages*piece:][:len(p)])
			if op == kernels.Average {
				kernels.Divide(kernels.Vector{Type: x.Type, Bytes: p}, 2)
			}
		}
	}
	return nil
}

// scatter is the all-reduce of vectors that others can't reach. The part that a rank folds
// is cut into pieces. For each, a rank copies the others' pieces of its own vector to its
// area; then folds its piece of all, into its vector and its area; then copies the others'
// results from there:
//
//	out 0, tick, out 1, tick, fold 0, tick, in 0, out 2, tick, fold 1, tick, in 1, …
//
// Piece k takes the place of piece k−4, with which the others have long ended: their tick of
// fold k−2, awaited before in k−2, comes after in k−3.
func (s *shared) scatter(x kernels.Vector, op kernels.Op) error {
	n := len(s.ranks)
	longest := 0
	for r := range n {
		lo, hi := s.part(x, r)
		longest = max(longest, hi-lo)
	}
	piece := min(stageBytes, len(s.stages(s.me))/(n*stages)) &^ 63
	count := (longest + piece - 1) / piece
	first := s.tick
	for k := range count + 1 {
		if k < count {
			s.out(x, k, piece)
			s.publish()
		}
		if k == 0 {
			continue
		}
		// The ticks are those of out 0, out 1, fold 0, out 2, fold 1, …; nothing goes out last.
		if err := s.await(first + tickOut(k-1)); err != nil {
			return err
		}
		s.sumUp(x, op, k-1, piece)
		s.publish()
		if err := s.await(first + tickFold(k-1, count)); err != nil {
			return err
		}
		s.in(x, k-1, piece)
	}
	return nil
}

func tickOut(k int) uint32 {
	if k == 0 {
		return 1
	}
	return uint32(2 * k)
}

func tickFold(k, count int) uint32 {
	if k == count-1 {
		return uint32(2 * count) // no piece has gone out in between
	}
	return uint32(2*k + 3)
}

// stages is where rank r keeps the pieces.
func (s *shared) stages(r int) []byte { return s.board.Area(s.ranks[r])[stagesAt:endedAt] }

// stage is where rank r keeps piece k of part p.
func (s *shared) stage(r, p, k, piece int) []byte {
	return s.stages(r)[(k%stages*len(s.ranks)+p)*piece:][:piece]
}

// piece is piece k of part p of x, which may be empty.
func (s *shared) piece(x kernels.Vector, p, k, piece int) []byte {
	lo, hi := s.part(x, p)
	return x.Bytes[min(lo+k*piece, hi):min(lo+(k+1)*piece, hi)]
}

// out copies to this rank's area what others fold.
func (s *shared) out(x kernels.Vector, k, piece int) {
	for p := range s.ranks {
		if p != s.me {
			copy(s.stage(s.me, p, k, piece), s.piece(x, p, k, piece))
		}
	}
}

// sumUp folds this rank's piece of all vectors.
func (s *shared) sumUp(x kernels.Vector, op kernels.Op, k, piece int) {
	mine := s.piece(x, s.me, k, piece)
	for r := range s.ranks {
		s.sources[r] = s.stage(r, s.me, k, piece)[:len(mine)]
	}
	result := s.sources[s.me]
	s.sources[s.me] = mine
	f := foldingOf(x, op)
	for lo := 0; lo < len(mine); lo += blockBytes {
		hi := min(lo+blockBytes, len(mine))
		sum := result[lo:hi]
		s.reduce(&f, sum, lo, hi)
		copy(mine[lo:hi], sum)
	}
}

// in copies the others' results from their areas.
func (s *shared) in(x kernels.Vector, k, piece int) {
	for p := range s.ranks {
		if p != s.me {
			copy(s.piece(x, p, k, piece), s.stage(p, p, k, piece))
		}
	}
}
