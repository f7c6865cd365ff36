package worker

import "errors"

// shelf keeps the buckets of a session that has ended for the next one, which mostly wants
// the same. New memory costs a page fault for each of its pages, and where ranks share it, in
// each of them: a large part of a recovery. What a session finds in it is not zero.
//
// It belongs to the goroutine that trains.
type shelf struct {
	memory
	kept [][]byte
}

// Alloc returns memory that was kept, or new memory.
func (s *shelf) Alloc(bytes int) ([]byte, error) {
	for i, p := range s.kept {
		if len(p) == bytes {
			last := len(s.kept) - 1
			s.kept[i], s.kept = s.kept[last], s.kept[:last]
			return p, nil
		}
	}
	if err := s.clear(); err != nil { // the layout is another one: the rest won't fit either
		return nil, err
	}
	return s.memory.Alloc(bytes)
}

// Free keeps p.
func (s *shelf) Free(p []byte) error {
	s.kept = append(s.kept, p)
	return nil
}

// clear gives back what is kept.
func (s *shelf) clear() error {
	var errs []error
	for _, p := range s.kept {
		errs = append(errs, s.memory.Free(p))
	}
	s.kept = nil
	return errors.Join(errs...)
}
