package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/gorun-ml/gorun/internal/rendezvous"
)

// The subjects of a job, after "gorun.JOB.":
//
//	up.register up.fail up.finish up.saved up.say   a letter, answered when it was handled
//	up.report                                       Reports of a rank, a line each; answered when they were taken
//	up.pulse                                        a Pulse, not answered
//	news                                            a letter of a host's agent
//	watch    after which generation; answered with a later one, or with nothing yet
//	commit   a generation and its predecessor; answered when it is committed
//	command  the supervisor's Order, to everybody who listens
//	order    asks for the current Order
//	ps       asks for the state of the job
//	turn     says that another hub of the job takes letters from now on
//	keepers  asks who keeps the job
//	begun    asks for the hosts without which the job can't begin
//	log      a position; answered with lines that the job has shown since
//	events   a position; answered with what has happened since
//	stop     asks the job to stop; answered when the supervisor knows
//	resize   asks for another number of ranks; answered when the supervisor knows
//	leave    the name of a follower that asks no more; not answered
//	orders   a host and the last order its agent has; answered with later ones, or with none yet
//	file     a digest and an offset; answered with bytes
const (
	subjectRegister = "up.register"
	subjectReport   = "up.report"
	subjectPulse    = "up.pulse"
	subjectFail     = "up.fail"
	subjectFinish   = "up.finish"
	subjectSaved    = "up.saved"
	subjectStranded = "up.stranded"
	subjectSay      = "up.say"
	subjectUp       = "up.*"
	subjectWatch    = "watch"
	subjectCommit   = "commit"
	subjectCommand  = "command"
	subjectOrder    = "order"
	subjectPS       = "ps"
	subjectBegun    = "begun"
	subjectKeepers  = "keepers"
	subjectTurn     = "turn"
	subjectLog      = "log"
	subjectEvents   = "events"
	subjectStop     = "stop"
	subjectResize   = "resize"
	subjectDrain    = "drain"
	subjectLeave    = "leave"
	subjectOrders   = "orders"
	subjectFile     = "file"
	subjectNews     = "news"
)

// MaxMessage bounds a message, in bytes, before anything is decoded.
const MaxMessage = 1 << 20

// maxText bounds a line or a detail, in bytes. Longer ones are cut: a failure with a long
// stack must still be told.
const maxText = 64 << 10

// Causes that callers branch on.
var (
	// ErrAuth means that the control plane refused the job's secret.
	ErrAuth = errors.New("control: the job's secret was refused")
	// ErrLost means that the control plane is gone for good, or that it has ended the job.
	ErrLost = errors.New("control: the job cannot go on")
	// ErrDisagree means that a bare job has ended because its ranks disagree.
	ErrDisagree = errors.New("control: ranks disagree")
	// ErrClosed means that this side has closed the connection.
	ErrClosed = errors.New("control: connection is closed")
)

// letter wraps what must be handled exactly once. From and Seq tell a repetition from a new
// letter: the sender repeats what wasn't answered.
type letter struct {
	From string          `json:"from"`
	Seq  uint64          `json:"seq"`
	Body json.RawMessage `json:"body"`
}

// reply answers a request. Its zero value is the plain acknowledgement.
type reply struct {
	Code       code                   `json:"code,omitempty"`
	Error      string                 `json:"error,omitempty"`
	Generation *rendezvous.Generation `json:"generation,omitempty"` // nil: nothing yet
}

// code is the kind of an error that the asking side branches on.
type code string

const (
	codeBad      code = "bad"      // the request is wrong: repeating it doesn't help
	codeConflict code = "conflict" // rendezvous.ErrConflict
	codeOver     code = "over"     // the job has ended
	codeDisagree code = "disagree" // the job has ended because its ranks disagree
	codeBusy     code = "busy"     // repeat it later
)

// err is the error that r carries, if any.
func (r reply) err() error {
	switch r.Code {
	case "":
		return nil
	case codeConflict:
		return fmt.Errorf("%w (%s)", rendezvous.ErrConflict, r.Error)
	case codeOver:
		return fmt.Errorf("%w: %s", ErrLost, r.Error)
	case codeDisagree:
		return fmt.Errorf("%w: %s", ErrDisagree, r.Error)
	default:
		return errors.New("control: " + r.Error)
	}
}

func replyError(err error) reply {
	switch {
	case err == nil:
		return reply{}
	case errors.Is(err, rendezvous.ErrConflict):
		return reply{Code: codeConflict, Error: err.Error()}
	default:
		return reply{Code: codeBad, Error: err.Error()}
	}
}

type watchRequest struct {
	After uint64 `json:"after"`
}

type commitRequest struct {
	Prev uint64                `json:"prev"`
	Next rendezvous.Generation `json:"next"`
}

type sayRequest struct {
	Member string `json:"member"`
	Line   string `json:"line"`
}

// order is the Command in force. Seq rises with each, so that what was heard twice is
// acted on once.
type order struct {
	Seq     uint64  `json:"seq"`
	Command Command `json:"command"`
}

// decode reads one message. It refuses what is too big before looking at it.
func decode[T any](data []byte) (v T, err error) {
	if len(data) > MaxMessage {
		return v, fmt.Errorf("message of %d bytes exceeds the limit of %d", len(data), MaxMessage)
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return v, fmt.Errorf("malformed message: %w", err)
	}
	return v, nil
}

// encode writes one message. All of ours can be encoded; only their size is in question.
func encode(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	if len(data) > MaxMessage {
		return nil, fmt.Errorf("control: message of %d bytes exceeds the limit of %d", len(data), MaxMessage)
	}
	return data, nil
}

// cut bounds a text that came from a user's program.
func cut(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + "…"
}

// prefix is what the subjects of a job begin with.
func prefix(job string) (string, error) {
	ok := job != "" && len(job) <= 64
	for _, c := range []byte(job) {
		ok = ok && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_')
	}
	if !ok {
		return "", fmt.Errorf("control: job ID %q: want 1 to 64 letters, digits, - or _", job)
	}
	return "gorun." + job + ".", nil
}

// checkMember refuses a member that could not be ranked.
func checkMember(m rendezvous.Member) error {
	switch {
	case m.ID == "" || len(m.ID) > 256:
		return fmt.Errorf("member ID %q: want 1 to 256 bytes", cut(m.ID))
	case len(m.Host) > 256 || len(m.Addr) > 256:
		return fmt.Errorf("member %q: host and address are limited to 256 bytes each", m.ID)
	case m.Slot < 0:
		return fmt.Errorf("member %q: slot %d is negative", m.ID, m.Slot)
	}
	return nil
}
