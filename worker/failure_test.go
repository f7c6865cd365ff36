package worker

import (
	"errors"
	"fmt"
	"testing"

	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/internal/rendezvous"
)

// Only who has lost a connection itself can name whom to: what others tell, and what is only
// late, says nothing of this rank's own links.
func TestWhoseConnectionIsBroken(t *testing.T) {
	members := []rendezvous.Member{{ID: "0.1"}, {ID: "1.1"}, {ID: "2.3"}}
	lost := &transport.PeerError{Rank: 2, Host: "h3", Err: fmt.Errorf("%w: timed out", transport.ErrLost)}
	for _, c := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("all-reduce 17: %w", lost), "2.3"},
		{errors.Join(errors.New("first"), lost), "2.3"},
		{transport.Abort(1, lost), ""},
		{&transport.PeerError{Rank: 1, Host: "h2", Err: transport.Abort(1, lost)}, ""},
		{&transport.PeerError{Rank: 1, Host: "h2", Err: transport.ErrCorrupt}, ""},
		{&transport.PeerError{Rank: 7, Host: "h9", Err: transport.ErrLost}, ""},
		{&transport.JoinError{Generation: 2, Missing: []transport.Peer{{Rank: 1}}, Err: transport.ErrLost}, ""},
		{errors.New("no such file"), ""},
	} {
		if got := broken(c.err, members); got != c.want {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
}
