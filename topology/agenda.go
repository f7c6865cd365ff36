package topology

// agenda is what happens next in a simulation: a heap of moments by time and, at the same
// time, by actor, so that a simulation takes the same course every time.
type agenda []moment

type moment struct {
	at    float64
	actor int32
}

func (m moment) before(o moment) bool { return m.at < o.at || m.at == o.at && m.actor < o.actor }

func (a *agenda) add(m moment) {
	h := append(*a, m)
	i := len(h) - 1
	for i > 0 && m.before(h[(i-1)/2]) {
		h[i] = h[(i-1)/2]
		i = (i - 1) / 2
	}
	h[i] = m
	*a = h
}

func (a *agenda) next() moment {
	h := *a
	first, last := h[0], h[len(h)-1]
	h = h[:len(h)-1]
	*a = h
	i := 0
	for c := 1; c < len(h); c = 2*i + 1 {
		if c+1 < len(h) && h[c+1].before(h[c]) {
			c++
		}
		if !h[c].before(last) {
			break
		}
		h[i] = h[c]
		i = c
	}
	if len(h) > 0 {
		h[i] = last
	}
	return first
}
