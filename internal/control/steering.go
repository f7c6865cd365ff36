package control

import "time"

// What commands ask of a running job. Each request can be repeated, to the same launcher or
// to another that has taken over: where to go on is said by position.

// LogRequest asks for lines that a job has shown, from a position on.
type LogRequest struct {
	From  uint64        `json:"from"`            // number of a line, from 0
	Last  *int          `json:"last,omitempty"`  // instead: so many of the newest
	Rank  *int          `json:"rank,omitempty"`  // of this rank only
	Notes bool          `json:"notes,omitempty"` // gorun's own lines too
	Hold  time.Duration `json:"hold,omitempty"`  // to wait so long for a line where there is none
	// Follower names who asks again and again, until it leaves: at the job's end the launcher
	// waits a moment for it to have heard of it. "" for who asks once.
	Follower string `json:"follower,omitempty"`
}

// LogReply is some of the lines asked for, in their order.
type LogReply struct {
	Lines  []LogLines `json:"lines,omitempty"`
	Next   uint64     `json:"next"`             // where to go on
	After  uint64     `json:"after"`            // number of the line that comes next
	Missed uint64     `json:"missed,omitempty"` // lines before them that aren't kept any more
	Live   string     `json:"live,omitempty"`   // the progress right now
	End    *End       `json:"end,omitempty"`    // there will be no more lines
}

// LogLines are whole lines of one origin.
type LogLines struct {
	Origin Origin `json:"origin"`
	Rank   int    `json:"rank"` // -1 for gorun
	Text   []byte `json:"text"` // as shown
}

// Origin is who has written a line, and where to.
type Origin uint8

// The origins of lines.
const (
	FromStdout Origin = iota // of a rank
	FromStderr               // of a rank
	FromGorun
)

// Keepers is who keeps a detached job, as one of them knows it.
type Keepers struct {
	Hosts  []string `json:"hosts"`
	Leader string   `json:"leader"` // "" while there is none
	End    *End     `json:"end,omitempty"`
}

// End is how a job has ended.
type End struct {
	OK     bool   `json:"ok"`
	Status int    `json:"status"` // of gorun
	Line   string `json:"line"`   // the verdict for people; "" where there is nothing to say
}

// EventsRequest asks for what has happened, from a position on.
type EventsRequest struct {
	From     uint64        `json:"from"` // number of an event, from 0
	Hold     time.Duration `json:"hold,omitempty"`
	Follower string        `json:"follower,omitempty"`
}

// EventsReply is some of what has happened, in its order.
type EventsReply struct {
	Events []Event `json:"events,omitempty"`
	Next   uint64  `json:"next"`
	Missed uint64  `json:"missed,omitempty"` // events before them that aren't kept any more
	End    *End    `json:"end,omitempty"`    // nothing more will happen
}

// Event is one thing that has happened to a job.
type Event struct {
	T          float64 `json:"t"` // Unix seconds
	Job        string  `json:"job"`
	Event      string  `json:"event"` // its kind, for machines
	Generation uint64  `json:"generation"`
	Size       int     `json:"size"` // ranks
	Step       int     `json:"step"`
	Rank       int     `json:"rank"` // -1 where it isn't about one
	Host       string  `json:"host"` // "" where it isn't about one
	Status     *int    `json:"status,omitempty"`
	Seconds    float64 `json:"seconds,omitempty"` // without a step, where it says that training goes on
	Flight     string  `json:"flight,omitempty"`  // at the end: folder of what ranks did last before failures
	Detail     string  `json:"detail"`
}

// The kinds of events.
const (
	EventStarted    = "started"
	EventGeneration = "generation" // one was committed
	EventFinished   = "finished"   // every rank has, and the last one was
	EventRankLost   = "rank-lost"
	EventHostLost   = "host-lost"
	EventStalled    = "stalled"  // a rank hangs, and is ended
	EventFailed     = "failed"   // a rank gave up, and with it the job
	EventTraining   = "training" // after a loss, the first step is done
	EventSlow       = "slow"     // a rank is
	EventSaved      = "saved"    // a checkpoint
	EventStop       = "stop"     // somebody has asked for it
	EventResize     = "resize"   // somebody has asked for it
	EventHostJoined = "host-joined"
	EventDrain      = "drain"   // ranks are to leave a host
	EventDrained    = "drained" // they have
	EventEnd        = "end"     // with a status
)

// StopRequest asks a job to stop. One that is heard twice does no more than one.
type StopRequest struct {
	Now bool   `json:"now,omitempty"` // without waiting for ranks to end by themselves
	By  string `json:"by"`            // who asks, for people
}

// leaveRequest says that a follower asks no more.
type leaveRequest struct {
	Follower string `json:"follower"`
}

// StopReply says how long it may take.
type StopReply struct {
	Grace time.Duration `json:"grace"` // for ranks to end by themselves
}

// ResizeRequest asks for another number of ranks.
type ResizeRequest struct {
	Ranks int    `json:"ranks"`
	By    string `json:"by"` // who asks, for people
}

// DrainRequest asks for ranks to leave a host, or lets them come back.
type DrainRequest struct {
	Host string `json:"host"`
	Undo bool   `json:"undo,omitempty"`
	By   string `json:"by"` // who asks, for people
}

// DrainReply says why ranks can't leave it.
type DrainReply struct {
	Absent  bool   `json:"absent,omitempty"` // none are there
	Done    bool   `json:"done,omitempty"`   // all have left already
	Refused string `json:"refused,omitempty"`
}

// ResizeReply says how many it had, or why it can't have another number.
type ResizeReply struct {
	Ranks   int    `json:"ranks"`
	Refused string `json:"refused,omitempty"`
}
