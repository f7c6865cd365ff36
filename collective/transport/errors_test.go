package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"unsafe"
)

func TestAbort(t *testing.T) {
	lost := &PeerError{Rank: 5, Host: "h2", Err: fmt.Errorf("%w: reset", ErrLost)}
	told := &AbortError{Rank: 5, By: 3, Cause: lost.Error(), Kind: ErrLost}
	for _, c := range []struct {
		cause error
		want  AbortError
		text  string
	}{
		{io.ErrUnexpectedEOF, AbortError{Rank: 1, By: 1, Cause: "unexpected EOF"}, "rank 1 gave up: unexpected EOF"},
		{
			fmt.Errorf("step 3: %w", lost),
			AbortError{Rank: 5, By: 1, Cause: "step 3: rank 5 on h2: connection lost: reset", Kind: ErrLost},
			"rank 1 reports: step 3: rank 5 on h2: connection lost: reset",
		},
		{fmt.Errorf("step 3: %w", told), *told, "rank 3 reports: rank 5 on h2: connection lost: reset"},
		{
			&PeerError{Rank: 5, Host: "h2", Err: ErrVersion},
			AbortError{Rank: 1, By: 1, Cause: "rank 5 on h2: protocol versions differ", Kind: ErrVersion},
			"rank 1 gave up: rank 5 on h2: protocol versions differ",
		},
		{
			&JoinError{Generation: 2, Missing: []Peer{{Rank: 4, Host: "h", Addr: "a:1"}}, Err: context.DeadlineExceeded},
			AbortError{Rank: 4, By: 1, Cause: "generation 2: rank 4 on h (a:1) not there: context deadline exceeded"},
			"rank 1 reports: generation 2: rank 4 on h (a:1) not there: context deadline exceeded",
		},
	} {
		got := Abort(1, c.cause)
		if *got != c.want {
			t.Errorf("abort because of %q: %+v, want %+v", c.cause, *got, c.want)
		}
		if got.Error() != c.text {
			t.Errorf("abort because of %q reads %q, want %q", c.cause, got, c.text)
		}
		if !errors.Is(got, ErrAborted) || got.Kind != nil && !errors.Is(got, got.Kind) {
			t.Errorf("%q is not an abort of kind %v", got, got.Kind)
		}
		if back := KindOf(KindCode(got.Kind)); back != got.Kind {
			t.Errorf("kind %v arrives as %v", got.Kind, back)
		}
	}
	if KindOf(200) != nil {
		t.Error("an unknown kind is known")
	}
}

func TestPages(t *testing.T) {
	for _, n := range []int{0, 1, 4096, 1 << 20} {
		b, err := Pages(n)
		if err != nil || len(b) != n {
			t.Errorf("asked for %d bytes, got %d and %v", n, len(b), err)
		}
		if off := uintptr(unsafe.Pointer(unsafe.SliceData(b))) % 4096; n > 0 && off != 0 {
			t.Errorf("%d bytes start %d past a page", n, off)
		}
	}
	if _, err := Pages(-1); err == nil {
		t.Error("-1 bytes were allocated")
	}
}
