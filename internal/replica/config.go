package replica

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// How long things take. A leader is missed by each of the others after silence, and up to
// spread more; when a majority has missed it, one of them is elected within milliseconds,
// or, where two stand at the same moment (2 in 100), after silence to twice silence. A
// leader that hears of no majority for lease stops before anyone can have missed it. A
// member can stand still without a change for lease less the time between two signs of life,
// which is up to twice beat.
const (
	silence = 700 * time.Millisecond // without a sign of the leader, until it is missed
	spread  = 250 * time.Millisecond
	lease   = 650 * time.Millisecond // without a majority, until a leader stops; below silence
	beat    = 25 * time.Millisecond  // between signs of life, at least; raft takes up to twice as long
	answer  = time.Second            // for a connection to be made, and for an answer
)

// How much there may be.
const (
	maxEntry     = 1 << 20  // bytes of an entry
	maxBatch     = 32       // entries of a frame
	maxSnapshot  = 32 << 20 // bytes of a snapshot
	maxFrame     = 34 << 20 // bytes of a frame: either, with what surrounds it
	maxProposals = 1024     // at once

	snapshotEvery = time.Second // looked whether a snapshot is due; raft takes up to twice as long
	snapshotAfter = 1024        // entries since the last
	trailing      = 1024        // entries before a snapshot that are kept, for who is a little behind
)

// protocol is the version of what members say to each other.
const protocol = "gorun-replica-1"

// Config is what a member has to be told.
type Config struct {
	Self    string            // this member's name, which no other ever had
	Members map[string]string // all at the start: address by name, this one included; nil for one that is added later

	// Listener is the group's from now on; Close closes it, and so does a Start that fails.
	// Without one the group is this member alone, for good: Propose costs a call.
	Listener net.Listener

	Seed    []byte    // of the key that all members hold, ed25519.SeedSize bytes
	Machine Machine   // in its first state, the same on all members
	Log     io.Writer // what raft has to say, line by line; nil for nothing

	route func(addr string) string // where tests have what is sent to an address
}

// check says what is wrong with a configuration.
func (c Config) check() error {
	_, included := c.Members[c.Self]
	switch {
	case c.Self == "":
		return errors.New("a member needs a name")
	case c.Machine == nil:
		return errors.New("a member needs a machine")
	case len(c.Members) > 0 && !included:
		return fmt.Errorf("member %q is not among the members: name all, or none for one that is added later", c.Self)
	case c.Listener == nil && len(c.Members) > 1:
		return fmt.Errorf("member %q has %d peers and no listener", c.Self, len(c.Members)-1)
	case c.Listener == nil:
		return nil
	case len(c.Seed) != ed25519.SeedSize:
		return fmt.Errorf("seed of %d bytes: it takes %d", len(c.Seed), ed25519.SeedSize)
	}
	names := map[string]string{}
	for name, addr := range c.Members {
		if err := checkAddr(name, addr); err != nil {
			return err
		}
		if other, ok := names[addr]; ok {
			return fmt.Errorf("members %q and %q have the same address %s", min(name, other), max(name, other), addr)
		}
		names[addr] = name
	}
	return nil
}

// checkAddr says what is wrong with a member.
func checkAddr(name, addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if name == "" || err != nil || host == "" || port == "" || port == "0" {
		return fmt.Errorf("member %q at %q: it takes a name and HOST:PORT", name, addr)
	}
	return nil
}

// fits says what is wrong with something that is too long.
func fits(what string, bytes, limit int) error {
	if bytes > limit {
		return fmt.Errorf("%s of %d bytes: the limit is %d", what, bytes, limit)
	}
	return nil
}

// raft is the configuration as raft takes it. It tells on notify when this member leads.
func (c Config) raft(logger hclog.Logger, notify chan<- bool) *raft.Config {
	r := raft.DefaultConfig()
	r.LocalID = raft.ServerID(c.Self)
	r.HeartbeatTimeout, r.ElectionTimeout, r.LeaderLeaseTimeout, r.CommitTimeout = silence, silence+1, lease, beat // election: see look
	r.MaxAppendEntries = maxBatch
	r.ShutdownOnRemove = false // the caller closes it
	r.SnapshotInterval, r.SnapshotThreshold, r.TrailingLogs = snapshotEvery, snapshotAfter, trailing
	r.NotifyCh = notify
	r.NoLegacyTelemetry = true
	r.Logger = logger
	return r
}

// logger is where raft writes to.
func (c Config) logger() hclog.Logger {
	if c.Log == nil {
		return hclog.NewNullLogger()
	}
	return hclog.New(&hclog.LoggerOptions{Name: "raft", Level: hclog.Info, Output: c.Log})
}
