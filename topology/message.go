package topology

// pieces is how a message is cut: number of pieces, bytes of the first and of the last.
func (l *Links) pieces(bytes int64) (n float64, first, last int64) {
	p := l.PieceBytes
	if p <= 0 || bytes <= p {
		return 1, bytes, bytes
	}
	count := (bytes + p - 1) / p
	return float64(count), p, bytes - (count-1)*p
}

// send is a sending half at the moment when its first piece may leave.
func (t *timeline) send(n int32, now float64) {
	c, track, l := &t.courses[n], &t.tracks[n], t.links
	k := track.lo + c.sends
	m := &t.moves[k]
	link := t.costs[m.link]
	pieces, first, last := l.pieces(m.out)
	latency, slow := float64(link.Latency), max(gap(link.GBps), gap(l.CopyGBps))
	takes := pieces*float64(l.Overhead) + over(m.out, l.CopyGBps)
	src, dst := t.host[track.rank], t.host[m.to]

	began := t.work(src, now, takes)
	start := began + float64(l.Overhead)
	var end, head, tail float64
	if !m.far {
		slow = max(slow, gap(l.HostGBps))
		start = max(start, t.bus[src])
		t.bus[src] = start + over(m.out, l.HostGBps)
		end = max(t.bus[src], began+takes, start+over(m.out, link.GBps))
	} else {
		slow = max(slow, gap(l.NICGBps))
		start = max(start, t.out[src])
		t.out[src] = start + over(m.out, l.NICGBps)
		end = max(t.out[src], began+takes, start+over(m.out, link.GBps))
	}
	if m.exact && pieces > 1 {
		end = max(end, t.done[m.behind].tail+float64(l.Overhead)+float64(last)*slow)
	}
	head, tail = start+latency+float64(first)*slow, end+latency
	if m.far {
		queued := start + latency // until what was sent before is through
		if m.farthest {
			src, dst := t.rack[track.rank], t.rack[m.to]
			queued = max(queued, t.up[src], t.down[dst])
			t.up[src] = max(t.up[src], start) + over(m.out, l.RackGBps)
			t.down[dst] = max(t.down[dst], start) + over(m.out, l.RackGBps)
			tail = max(tail, t.up[src]+latency, t.down[dst]+latency)
		}
		queued = max(queued, t.in[dst])
		t.in[dst] = max(t.in[dst], start+latency) + over(m.out, l.NICGBps)
		tail = max(tail, t.in[dst])
		head = min(tail, max(head, queued+float64(first)*slow))
	}
	if track.inline { // the system keeps what is short
		end = began + takes
	}
	t.over(k, 0, began)
	t.sent[k], c.sendsFree = end, end
	c.sends++
	c.sending, c.receiving = ready, c.receiving.free(blocked)
	t.last = max(t.last, end)
	t.stir(n)
	if to := t.first[m.to] + n - t.first[track.rank]; to < t.first[m.to+1] {
		b := &t.courses[to]
		b.inbox = append(b.inbox, parcel{m.key, stretch{head, tail}})
		if b.receiving == blocked {
			b.receiving = ready
			t.restless = append(t.restless, to)
		}
	}
}

// take is a receiving half at the moment when its first piece is there and can be folded
// or stored.
func (t *timeline) take(n int32, now float64) {
	c, track, l := &t.courses[n], &t.tracks[n], t.links
	k := track.lo + c.recvs
	m := &t.moves[k]
	pieces, first, last := l.pieces(m.in)
	slow := gap(l.CopyGBps)
	if m.reduce {
		slow += gap(l.FoldGBps)
	}
	if m.apart && !track.inline {
		slow += gap(l.CopyGBps) // it lies beside the buffer for a while
	}
	overhead := float64(l.Overhead)
	takes := pieces*overhead + float64(m.in)*slow
	began := t.work(t.host[track.rank], now, takes)
	done := stretch{
		head: began + overhead + float64(first)*slow,
		tail: max(began+takes, c.taking.tail+overhead+float64(last)*slow),
	}
	if m.apart && c.sends > c.recvs {
		done.tail = max(done.tail, t.sent[k]) // what is sent is not folded into before it has left
	}
	if pieces == 1 {
		done.head = done.tail
	}
	t.over(k, 1, began)
	t.done[k], c.recvsFree = done, done.tail
	c.recvs++
	c.receiving, c.sending = ready, c.sending.free(blocked)
	t.last = max(t.last, done.tail)
	t.stir(n)
}
