package cluster

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gorun-ml/gorun/launcher/joblist"
)

// request is what a client says: one of the five.
type request struct {
	Status bool          `json:"status,omitempty"`
	Jobs   bool          `json:"jobs,omitempty"`
	Drain  *drainRequest `json:"drain,omitempty"`
	Start  *startRequest `json:"start,omitempty"`
	End    bool          `json:"end,omitempty"`   // the job agent that was started on this connection
	Leave  bool          `json:"leave,omitempty"` // it to its host: it is not to end with the connection
}

// startRequest asks for a job agent.
type startRequest struct {
	Letter  []byte `json:"letter"` // a line, for its standard input
	Slots   int    `json:"slots"`
	Digest  string `json:"digest"`            // SHA-256 of the client's gorun, in hexadecimal
	Version string `json:"version"`           // for people
	Lasting bool   `json:"lasting,omitempty"` // it may be left; one that is to keep a job takes no slots
}

// answer is what a daemon says: one of the five. Ended comes by itself.
type answer struct {
	Refused *refusal `json:"refused,omitempty"`
	Status  *status  `json:"status,omitempty"`
	Jobs    *jobList `json:"jobs,omitempty"`
	Started bool     `json:"started,omitempty"` // the job agent is ready
	Ended   *ended   `json:"ended,omitempty"`
}

// status is all hosts that a daemon knows, and which of them it is.
type status struct {
	Self  string     `json:"self"`
	Hosts []HostInfo `json:"hosts"`
}

// jobList is what runs on a daemon's host, as far as it fits into an answer.
type jobList struct {
	Entries []joblist.Entry `json:"entries"`
	Left    int             `json:"left,omitempty"` // that didn't fit
}

// ended is how a job agent has ended.
type ended struct {
	How    string   `json:"how"`              // "status 1", "signal 9"; "" for status 0
	Stderr []string `json:"stderr,omitempty"` // its last words
}

// err is nil for an end that was to be expected.
func (e ended) err(host string) error {
	if e.How == "" {
		return nil
	}
	return fmt.Errorf("%w on host %s ended with %s%s", ErrChild, host, e.How, lastWords(e.Stderr))
}

func lastWords(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return ": " + strings.Join(lines, " | ")
}

// refusal is an error on its way to the client. Its kind says which of this package's.
type refusal struct {
	Kind string `json:"kind"`
	Text string `json:"text"`
}

// kinds are the errors that have a name on the wire.
var kinds = map[string]error{"version": ErrVersion, "slots": ErrSlots, "child": ErrChild, "usage": ErrUsage}

func refuse(err error) answer {
	for kind, cause := range kinds {
		if errors.Is(err, cause) {
			return answer{Refused: &refusal{Kind: kind, Text: err.Error()}}
		}
	}
	return answer{Refused: &refusal{Text: err.Error()}}
}

// told is an error in its own words, of a cause that callers branch on.
type told struct {
	cause error
	text  string
}

func (t told) Error() string { return t.text }
func (t told) Unwrap() error { return t.cause }

// usage is an ErrUsage that doesn't say so.
func usage(format string, args ...any) error {
	return told{cause: ErrUsage, text: fmt.Sprintf(format, args...)}
}

func (r refusal) err() error {
	cause, known := kinds[r.Kind]
	if !known {
		cause = ErrChild
	}
	return told{cause: cause, text: r.Text}
}
