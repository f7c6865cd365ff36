package collective

// view says where the chunks of one buffer of a plan lie in memory. The zero view is a
// buffer without bytes.
type view struct {
	data []byte // starts at chunk first
	// Even chunks: chunk c of chunks starts at element count*c/chunks.
	count, chunks, size int
	// Uneven chunks: chunk c is [cuts[c], cuts[c+1]) in bytes. nil for even chunks.
	cuts  []int
	shift int // byte offset of data[0] in the whole buffer
}

// even divides data, elements of size bytes, into chunks of nearly equal length.
func even(data []byte, size, chunks int) view {
	return view{data: data, count: len(data) / size, chunks: chunks, size: size}
}

// uneven divides data at cuts, of which there is one more than there are chunks.
func uneven(data []byte, cuts []int) view { return view{data: data, cuts: cuts} }

// at is the byte offset of chunk c in the whole buffer.
func (v *view) at(c int) int {
	if v.cuts != nil {
		return v.cuts[c]
	}
	if v.chunks == 0 {
		return 0
	}
	return v.count * c / v.chunks * v.size
}

// bytes is the memory of chunks [lo, hi).
func (v *view) bytes(lo, hi int) []byte {
	if hi <= lo {
		return nil
	}
	from, to := v.at(lo)-v.shift, v.at(hi)-v.shift
	return v.data[from:to:to]
}
