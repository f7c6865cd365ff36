package control

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// AgentOrder is what the launcher asks of the agent of one host: one of the things below.
type AgentOrder struct {
	Seq    uint64       `json:"seq"` // from 1, without gaps
	Start  *StartOrder  `json:"start,omitempty"`
	Signal *SignalOrder `json:"signal,omitempty"`
	Label  *LabelOrder  `json:"label,omitempty"`
	End    bool         `json:"end,omitempty"` // of all candidates, and of the agent
	// Keep has the host keep the job: what that takes is the launcher's to say.
	Keep json.RawMessage `json:"keep,omitempty"`
}

// StartOrder has a candidate started.
type StartOrder struct {
	Member string   `json:"member"`
	Rank   int      `json:"rank"`             // to label its output with
	Path   string   `json:"path"`             // of the program there, or its name in PATH
	Digest string   `json:"digest,omitempty"` // or of what is to be fetched, and run under the name of Path
	Args   []string `json:"args,omitempty"`
	Env    []string `json:"env"`             // added to the agent's own
	Dir    string   `json:"dir"`             // to run in, where the host has it
	Files  []File   `json:"files,omitempty"` // to find in it: it is the job's own then
}

// File is a file that the launcher has, and agents may fetch.
type File struct {
	Name   string `json:"name"` // relative to the ranks' folder
	Digest string `json:"digest"`
	Mode   uint32 `json:"mode"`
}

// SignalOrder sends a signal to a candidate's process group.
type SignalOrder struct {
	Member string `json:"member"`
	Signal int    `json:"signal"`
}

// LabelOrder says which rank a candidate's output is shown as.
type LabelOrder struct {
	Member string `json:"member"`
	Rank   int    `json:"rank"`
}

// AgentNews is what the agent of one host tells: one of the pointers is set.
type AgentNews struct {
	Host       string           `json:"host"`
	Hello      *AgentHello      `json:"hello,omitempty"`
	Started    *AgentStarted    `json:"started,omitempty"`
	NotStarted *AgentNotStarted `json:"not_started,omitempty"`
	Exited     *AgentExited     `json:"exited,omitempty"`
	Drained    *AgentDrained    `json:"drained,omitempty"`
	Output     *AgentOutput     `json:"output,omitempty"`
	Signalled  int              `json:"signalled,omitempty"` // the agent was sent this signal
	Kept       bool             `json:"kept,omitempty"`      // the host keeps the job
	Leaves     bool             `json:"leaves,omitempty"`    // the host is about to go
}

// AgentHello is an agent's first word.
type AgentHello struct {
	PID   int     `json:"pid"`
	Addr  string  `json:"addr"`  // IP address that its ranks listen on
	Ports []int   `json:"ports"` // free there a moment ago, for ranks with a rendezvous of their own
	Cores int     `json:"cores"`
	Now   float64 `json:"now"` // Unix seconds
	// Host is whose agent it is, and Slots how many ranks it takes, where it was started for
	// a job that runs.
	Host  string `json:"host,omitempty"`
	Slots int    `json:"slots,omitempty"`
}

// AgentStarted says that a candidate runs.
type AgentStarted struct {
	Member string `json:"member"`
	PID    int    `json:"pid"`
}

// AgentNotStarted says why a candidate doesn't run.
type AgentNotStarted struct {
	Member string `json:"member"`
	Error  string `json:"error"`
}

// AgentExited says how a candidate's process has ended.
type AgentExited struct {
	Member string `json:"member"`
	Status int    `json:"status"`
	Signal int    `json:"signal,omitempty"`
	// Starved says that the kernel has killed it for memory, and Limit how many bytes its
	// cgroup may take; 0 for no limit.
	Starved bool  `json:"starved,omitempty"`
	Limit   int64 `json:"limit,omitempty"`
}

// AgentDrained is the last word on a candidate, with the end of its standard error.
type AgentDrained struct {
	Member string   `json:"member"`
	Lines  []string `json:"lines,omitempty"`
	Panic  string   `json:"panic,omitempty"`
}

// AgentOutput is lines of a rank: as it wrote them, and as they are shown.
type AgentOutput struct {
	Rank  int    `json:"rank"`
	Error bool   `json:"error,omitempty"` // standard error
	Raw   []byte `json:"raw"`
	Shown []byte `json:"shown"`
}

type ordersRequest struct {
	Host  string `json:"host"`
	After uint64 `json:"after"`
}

type ordersReply struct {
	Orders []AgentOrder `json:"orders"`
}

type fileRequest struct {
	Digest string `json:"digest"`
	Offset int64  `json:"offset"`
}

// The answer to a fileRequest is a byte and what it announces.
const (
	fileData  = 'd' // the next bytes of the file; none at all is its end
	fileError = 'e' // what is wrong, as text
)

// fileBytes is how much of a file travels in a message.
const fileBytes = 768 << 10

// Agents is the hub's side of a job's agents on other hosts.
type Agents struct {
	hub   *Hub
	tell  func(AgentNews) error
	heard heard // used by the loop of subjectNews only, as shown is
	shown heard // of output, which all hubs of a job take

	mu     sync.Mutex
	queues map[string]*orders
	files  map[string]string // path by digest
}

// orders are those of one host that its agent has not asked beyond.
type orders struct {
	seq     uint64
	waiting []AgentOrder
	more    chan struct{} // closed when there is another one
}

// ServeAgents begins to serve agents. It tells their news one at a time, in order from each.
// Ranks' output is among them: while tell blocks, only agents wait. What tell returns means
// the same as a Handler's errors.
func (h *Hub) ServeAgents(tell func(AgentNews) error) (*Agents, error) {
	a := &Agents{hub: h, tell: tell, heard: make(heard), shown: make(heard), queues: map[string]*orders{}, files: map[string]string{}}
	err := errors.Join(h.serve(subjectOrders, a.orders), h.serve(subjectFile, a.file), h.serve(subjectNews, a.news))
	if err == nil {
		err = h.nc.FlushTimeout(5 * time.Second)
	}
	if err != nil {
		return nil, fmt.Errorf("control: serving agents: %w", err)
	}
	return a, nil
}

func (a *Agents) queue(host string) *orders {
	q := a.queues[host]
	if q == nil {
		q = &orders{more: make(chan struct{})}
		a.queues[host] = q
	}
	return q
}

// Order has the agent of a host do something, after all it was asked before. It doesn't
// wait. Orders are kept until the agent has them, over reconnects.
func (a *Agents) Order(host string, o AgentOrder) {
	a.mu.Lock()
	defer a.mu.Unlock()
	q := a.queue(host)
	q.seq++
	o.Seq = q.seq
	q.waiting = append(q.waiting, o)
	close(q.more)
	q.more = make(chan struct{})
}

// Offer lets agents fetch a file, under the digest that it returns.
func (a *Agents) Offer(path string) (digest string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // only read from
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	digest = hex.EncodeToString(sum.Sum(nil))
	a.mu.Lock()
	a.files[digest] = path
	a.mu.Unlock()
	return digest, nil
}

// next is what waits for a host after an order that its agent has, and a channel that is
// closed when that changes. What the agent has is forgotten.
func (a *Agents) next(host string, after uint64) (waiting []AgentOrder, more <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	q := a.queue(host)
	for len(q.waiting) > 0 && q.waiting[0].Seq <= after {
		q.waiting = q.waiting[1:]
	}
	// A start with a large environment takes some KiB of a message.
	return append([]AgentOrder(nil), q.waiting[:min(len(q.waiting), 8)]...), q.more
}

// orders answers with the orders after one, as soon as there is another, or with none when
// the poll has ended.
func (a *Agents) orders(m *nats.Msg) {
	if a.hub.role() == Absent {
		return
	}
	q, err := decode[ordersRequest](m.Data)
	if err != nil {
		return // it asks again
	}
	select {
	case a.hub.watchers <- struct{}{}:
	default:
		return
	}
	a.hub.joined.Go(func() {
		defer func() { <-a.hub.watchers }()
		ctx, cancel := context.WithTimeout(a.hub.ctx, a.hub.poll)
		defer cancel()
		for {
			waiting, more := a.next(q.Host, q.After)
			if len(waiting) > 0 {
				a.hub.respond(m, ordersReply{waiting})
				return
			}
			select {
			case <-more:
			case <-ctx.Done():
				a.hub.respond(m, ordersReply{})
				return
			}
		}
	})
}

// news hands on what an agent tells, once. Output all hubs of a job keep.
func (a *Agents) news(m *nats.Msg) {
	l, err := decode[letter](m.Data)
	var n AgentNews
	if err == nil {
		n, err = decode[AgentNews](l.Body)
	}
	if err == nil && n.Output != nil {
		err = a.shown.once(l, func() error { return a.tell(n) })
	}
	if !a.hub.leads(m) {
		return
	}
	if err == nil && n.Output == nil {
		err = a.heard.once(l, func() error { return a.tell(n) })
	}
	if !errors.Is(err, ErrElsewhere) {
		a.hub.answer(m, replyError(err))
	}
}

// file answers with the next bytes of a file that was offered.
func (a *Agents) file(m *nats.Msg) {
	if a.hub.role() != Leads {
		return // or it would travel several times
	}
	q, err := decode[fileRequest](m.Data)
	a.mu.Lock()
	path, offered := a.files[q.Digest]
	a.mu.Unlock()
	var data []byte
	switch {
	case err != nil:
	case !offered:
		err = errors.New("no such file was offered")
	default:
		data, err = readAt(path, q.Offset)
	}
	if err != nil {
		data = append([]byte{fileError}, cut(err.Error())...)
	}
	if m.Reply != "" {
		_ = m.Respond(data) // who misses it asks again
	}
}

// readAt returns the answer with a file's bytes from an offset on.
func readAt(path string, offset int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	data := make([]byte, 1+fileBytes)
	data[0] = fileData
	n, err := f.ReadAt(data[1:], max(offset, 0))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return data[:1+n], nil
}

// News tells the launcher what an agent has to say, exactly once. Output waits for as long
// as nobody takes it, until ctx ends or the launcher is gone.
func (c *Client) News(ctx context.Context, n AgentNews) error { return c.post(ctx, subjectNews, n) }

// Orders returns what the agent of a host is asked after order number after, as soon as
// there is something. It goes on over reconnects until ctx ends or the launcher is gone.
func (c *Client) Orders(ctx context.Context, host string, after uint64) ([]AgentOrder, error) {
	body, err := encode(ordersRequest{Host: host, After: after})
	if err != nil {
		return nil, err
	}
	for {
		data, err := c.ask(ctx, subjectOrders, body, pollFor+answerWithin)
		if err != nil {
			return nil, fmt.Errorf("waiting for orders: %w", err)
		}
		r, err := decode[ordersReply](data)
		if err != nil {
			return nil, fmt.Errorf("control: orders of the launcher: %w", err)
		}
		if len(r.Orders) > 0 {
			return r.Orders, nil
		}
	}
}

// Fetch writes a file that the launcher has offered to w, and checks that it is the one.
func (c *Client) Fetch(ctx context.Context, digest string, w io.Writer) error {
	sum := sha256.New()
	for offset := int64(0); ; {
		body, err := encode(fileRequest{Digest: digest, Offset: offset})
		if err != nil {
			return err
		}
		data, err := c.ask(ctx, subjectFile, body, answerWithin)
		if err != nil {
			return fmt.Errorf("fetching %.12s: %w", digest, err)
		}
		switch {
		case len(data) == 0 || data[0] != fileData && data[0] != fileError:
			err = errors.New("malformed answer")
		case data[0] == fileError:
			err = errors.New(string(data[1:]))
		}
		if err != nil {
			return fmt.Errorf("fetching %.12s from the launcher: %w", digest, err)
		}
		if data = data[1:]; len(data) == 0 {
			break
		}
		sum.Write(data)
		if _, err := w.Write(data); err != nil {
			return err
		}
		offset += int64(len(data))
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != digest {
		return fmt.Errorf("a file from the launcher has digest %.12s, want %.12s: it was changed meanwhile: start the job again", got, digest)
	}
	return nil
}
