// Package control is what launcher and workers say to each other: subjects and messages on
// NATS, and the environment a worker is started with.
package control

// Report is what a rank says of one completed step. Samples and Loss are the whole
// world's, the times are this rank's.
type Report struct {
	Member        string   `json:"member"`
	Rank          int      `json:"rank"`
	Generation    uint64   `json:"generation"`
	Size          int      `json:"size"`
	T             float64  `json:"t"` // Unix seconds with microseconds
	Step          int      `json:"step"`
	Steps         int      `json:"steps"` // of the whole run; 0 if unknown
	Epoch         int      `json:"epoch"` // from 1
	Epochs        int      `json:"epochs"`
	StepOfEpoch   int      `json:"step_of_epoch"`   // from 1
	StepsPerEpoch int      `json:"steps_per_epoch"` //
	Loss          *float64 `json:"loss"`            // null if not finite
	Samples       int      `json:"samples"`
	ComputeMS     float64  `json:"compute_ms"`
	CommMS        float64  `json:"comm_ms"` // exposed: time in which the rank waited for others
	InputMS       float64  `json:"input_ms"`
	Skipped       bool     `json:"skipped,omitempty"` // it was not finite, and not applied
	Fixed         bool     `json:"fixed,omitempty"`   // what a step is depends on the number of ranks
}

// Failure is why a rank gives up, said before it exits.
type Failure struct {
	Member     string `json:"member"`
	Rank       int    `json:"rank"` // -1 before it has one
	Generation uint64 `json:"generation"`
	Kind       Kind   `json:"kind"`
	Detail     string `json:"detail"` // one line
	Step       int    `json:"step"`
	Status     int    `json:"status"`          // the exit status it will end with
	Saved      string `json:"saved,omitempty"` // newest checkpoint, if any
	// Blame is the rank at fault where all ranks end for it; nil for the one that says so.
	Blame *int `json:"blame,omitempty"`
}

// Kind classifies a cause. It is what tools branch on.
type Kind string

// The kinds of causes.
const (
	KindExit       Kind = "exit"       // a rank's process ended with a status of its own
	KindSignal     Kind = "signal"     // a rank's process was ended by a signal
	KindMemory     Kind = "memory"     // a rank's process was killed by the kernel for memory
	KindPanic      Kind = "panic"      // a rank's process panicked
	KindNoFinish   Kind = "no-finish"  // status 0 without a finish record
	KindError      Kind = "error"      // the training function returned an error
	KindMismatch   Kind = "mismatch"   // ranks disagree about order, shape, type or version
	KindNonFinite  Kind = "non-finite" // NaN or Inf in loss or gradients
	KindCheckpoint Kind = "checkpoint" // a checkpoint could not be written or read
	KindData       Kind = "data"       // a data file is bad
	KindHost       Kind = "host"       // a rank's host was lost
	KindLost       Kind = "lost"       // a peer was lost and no new generation came
	KindTimeout    Kind = "timeout"    // something did not happen within its bound
	KindHelp       Kind = "help"       // a rank told how its program is used, which is no failure
	KindStopped    Kind = "stopped"    // somebody asked for it
	KindLaunch     Kind = "launch"     // the program could not be started or built
)

// Exit statuses beside a rank's own (sysexits.h where one fits).
const (
	StatusUsage      = 64 // bad flags, or a bad file
	StatusNoHost     = 69
	StatusCheckpoint = 74
	StatusTemporary  = 75 // resubmit me
	StatusDisagree   = 76
	StatusAuth       = 77
)

// Finish is a rank's word that its training function returned without error.
type Finish struct {
	Member     string   `json:"member"`
	Rank       int      `json:"rank"`
	Generation uint64   `json:"generation"`
	Step       int      `json:"step"`
	Summary    []string `json:"summary,omitempty"` // phrases for the last line, from rank 0
}

// Saved is the word that a checkpoint is durable.
type Saved struct {
	Generation uint64 `json:"generation"`
	Step       int    `json:"step"`
	Path       string `json:"path"`
}

// Stranded is a living rank's word that its connections of a generation have failed and
// that no death has explained it.
type Stranded struct {
	Member     string `json:"member"`
	Generation uint64 `json:"generation"`
	Detail     string `json:"detail"`
	Why        string `json:"why,omitempty"` // nothing has failed: the ranks want to start over
	// Peer is the member to whom it lost its connection or could make none, "" if unknown.
	Peer string `json:"peer,omitempty"`
}

// Command is what the supervisor asks of all ranks. They act on it after the same step.
type Command struct {
	Stop       bool   `json:"stop"`
	Checkpoint bool   `json:"checkpoint"`
	Why        string `json:"why"`
}
