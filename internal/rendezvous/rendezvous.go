// Package rendezvous says who is in the job, one Generation at a time.
//
// Sightings suspect, Next decides, Store.Commit commits, workers watch.
package rendezvous

import (
	"context"
	"errors"
	"time"
)

// Member is one incarnation of a rank's process. A process started anew is a new member.
type Member struct {
	ID   string `json:"id"`   // unique in the job
	Host string `json:"host"` // name of the host it runs on
	Addr string `json:"addr"` // where its fabric listens
	Slot int    `json:"slot"` // its place in the launch: the rank it would have in generation 1
	PID  int    `json:"pid"`
}

// Generation is the membership at one time. Members[r] is rank r. ID 0 is "none yet".
type Generation struct {
	ID      uint64   `json:"id"`
	Members []Member `json:"members"`
	Why     string   `json:"why"`  // what led to it, for people
	Done    bool     `json:"done"` // every rank has finished: the last of the chain
	// Planned means that all members of the generation before it live. It begins after a
	// step that they complete, and who isn't part of it is released.
	Planned bool `json:"planned,omitempty"`
}

// State is what a sighting says of a member.
type State uint8

// The states of a member.
const (
	Registered State = iota // alive and ready to be ranked
	Suspect                 // unreachable to somebody: not enough to act on
	Dead                    // its parent or its host says so
	Leaving                 // will leave as planned
	Finished                // its training function returned without error
)

// Sighting is what somebody saw of a member.
type Sighting struct {
	Member   Member
	By       string // who saw it: an agent's or a member's name
	State    State
	Since    time.Time // by the clock of who calls Next
	Failures int       // how often this slot has failed so far
	// Stranded is the generation in which the member, alive itself, has lost connections
	// to others that live; 0 for none.
	Stranded uint64
}

// Policy is what Next may do.
type Policy struct {
	Min, Max int           // ranks; equal for a fixed world
	Settle   time.Duration // how long a newcomer must have been there before it may disturb the others
}

// ErrConflict means that the store's generation is not the one the commit was based on.
var ErrConflict = errors.New("rendezvous: generation has moved on")

// Store holds the chain of generations.
type Store interface {
	// Commit makes next the current generation if prev still is.
	Commit(ctx context.Context, prev uint64, next Generation) error
	// Watch returns the newest generation once it is later than after, waiting for it.
	Watch(ctx context.Context, after uint64) (Generation, error)
}
