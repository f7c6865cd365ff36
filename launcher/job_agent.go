package launcher

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/launcher/membership"
)

// AgentReady is what a job agent writes to standard output once it serves its launcher.
const AgentReady = "gorun agent ready"

// letter is all that a job agent has to know. It is the first line of its standard input,
// whatever has started it: the secret in it is for nobody else's eyes.
type letter struct {
	Job     string   `json:"job"`
	Host    string   `json:"host"`   // how the job calls this host; "" for what the host calls itself
	Broker  string   `json:"broker"` // one, or several with commas between
	Gossip  string   `json:"gossip"` // address of the launcher's membership, or of several
	Secret  []byte   `json:"secret"`
	Version string   `json:"version"`
	Lasting bool     `json:"lasting,omitempty"` // it lives on when its standard input ends
	NICs    []string `json:"nics,omitempty"`    // interfaces or subnets to use
	Agent   string   `json:"agent,omitempty"`   // the agent's name, where it is not the first of its host
	Slots   int      `json:"slots,omitempty"`   // that it takes, where the job runs already
	Keeper  bool     `json:"keeper,omitempty"`  // it is to keep the job, not to run ranks
}

// leaveSignal tells a job agent that its host is about to go: ranks are to leave it.
const leaveSignal = syscall.SIGUSR1

const (
	letterBytes  = 64 << 10
	letterWithin = 10 * time.Second
	freePorts    = 8
	agentLeave   = 2 * time.Second
)

// JobAgent runs one host's share of a job: it starts and watches candidates as the launcher
// orders, and ends all of them when its standard input ends or the launcher can't be reached
// any more. Signals it passes on.
type JobAgent struct {
	Version string   // of gorun
	Environ []string // that candidates inherit
	Runtime string   // folder that gorun ps looks into
	In      io.Reader
	Out     io.Writer
	Err     io.Writer
	Signals <-chan os.Signal
	Reach   func() Reach     // how a keeper has agents started on hosts that join; nil where it can't
	Now     func() time.Time // this host's clock; nil for the real one
}

// Run returns the exit status.
func (a JobAgent) Run() int {
	l, rest, err := readLetter(a.In)
	if err == nil && l.Version != a.Version {
		err = &Refusal{Status: control.StatusDisagree, Text: fmt.Sprintf("this host has gorun %s, the launcher is %s: install the same on all hosts", a.Version, l.Version)}
	}
	switch {
	case err != nil:
	case l.Keeper:
		err = a.keep(l)
	default:
		err = a.serve(l, rest)
	}
	if err == nil {
		return 0
	}
	_, _ = fmt.Fprintln(a.Err, oneLine(err.Error())) // there is nowhere else to say it
	var r *Refusal
	if errors.As(err, &r) {
		return r.Status
	}
	if errors.Is(err, control.ErrAuth) {
		return control.StatusAuth
	}
	return control.StatusTemporary
}

// readLetter takes the first line off in. Memory is bounded, and so is the wait.
func readLetter(in io.Reader) (l letter, rest io.Reader, err error) {
	r := bufio.NewReaderSize(in, letterBytes)
	type result struct {
		line []byte
		err  error
	}
	read := make(chan result, 1)
	go func() { // not joined where nothing comes: the process is about to end
		line, err := r.ReadSlice('\n')
		read <- result{line, err}
	}()
	const remedy = "gorun agent --job is started by gorun, not by people"
	timer := time.NewTimer(letterWithin)
	defer timer.Stop()
	select {
	case got := <-read:
		if got.err != nil {
			return l, nil, fmt.Errorf("no letter from a launcher on standard input: %w: %s", got.err, remedy)
		}
		if err := json.Unmarshal(got.line, &l); err != nil {
			return l, nil, fmt.Errorf("the letter on standard input is malformed: %w: %s", err, remedy)
		}
	case <-timer.C:
		return l, nil, fmt.Errorf("no letter from a launcher on standard input within %v: %s", letterWithin, remedy)
	}
	if len(l.Secret) != control.SecretBytes {
		return l, nil, fmt.Errorf("the letter's secret has %d bytes, want %d: %s", len(l.Secret), control.SecretBytes, remedy)
	}
	if l.Host == "" {
		l.Host, _ = os.Hostname()
	}
	return l, r, nil
}

// routed is the address of this host that its part of the job listens on: the one from which
// the launcher is reached, where nothing else was asked for.
func (l letter) routed() (string, error) {
	first, _, _ := strings.Cut(l.Broker, ",")
	if len(l.NICs) > 0 {
		there, _, _ := net.SplitHostPort(first) // dialling it says what is wrong
		addr, err := ownAddress(l.NICs, there)
		if err != nil {
			return "", &Refusal{Status: control.StatusNoHost, Text: err.Error()}
		}
		return addr, nil
	}
	addr, err := routeTo(first)
	if err != nil {
		return "", fmt.Errorf("no way from %s to the launcher at %s: %w", l.Host, first, err)
	}
	return addr, nil
}

// hostAgent is a job agent at work.
type hostAgent struct {
	host    string
	name    string // of the agent
	environ []string
	client  *control.Client
	agent   *agent
	folder  string // of the job on this host
	ctx     context.Context
	cache   string // for programs; "" for none
}

// serve does all the work of a job agent.
func (a JobAgent) serve(l letter, rest io.Reader) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	var secret [control.SecretBytes]byte
	copy(secret[:], l.Secret)
	addr, err := l.routed()
	if err != nil {
		return err
	}
	client, err := control.Dial(ctx, control.Env{Job: l.Job, Broker: l.Broker, Member: "agent " + l.known(), Host: l.Host}, secret)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()               // the launcher is gone, or has all it needs
	folder, err := os.MkdirTemp("", "gorun-"+l.Job+"-") // 0700
	if err != nil {
		return fmt.Errorf("folder for the job on %s: %w%s", l.Host, err, room(err))
	}
	defer func() { _ = os.RemoveAll(folder) }() // what stays is in the system's folder for such files
	hosts, err := membership.Start(membership.Config{Group: "gorun " + l.Job, Host: l.known(), Bind: addr, Key: control.GossipKey(secret)})
	if err != nil {
		return err
	}
	defer func() { _ = hosts.Close() }() // nobody is left to be told
	if err := hosts.Join(ctx, strings.Split(l.Gossip, ",")...); err != nil {
		return err
	}
	now := a.Now
	if now == nil {
		now = time.Now
	}
	h := &hostAgent{host: l.Host, name: l.known(), environ: a.Environ, client: client, folder: folder, ctx: ctx, cache: programCache()}
	h.agent = newAgent(secret[:], h.lines, h.tell)
	h.agent.adopts = adoptOrphans() == nil // else what leaves its group is on its own
	forgetFlights(StateFolder(lookIn(a.Environ)))
	ports, err := freePortsOn(addr, freePorts)
	if err != nil {
		return err
	}
	if err := h.news(control.AgentNews{Hello: &control.AgentHello{
		PID: os.Getpid(), Addr: addr, Ports: ports, Cores: runtime.NumCPU(), Now: float64(now().UnixMicro()) / 1e6,
		Host: l.Host, Slots: l.Slots,
	}}); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(a.Out, AgentReady); err != nil {
		return fmt.Errorf("standard output: %w", err)
	}
	go func() { // ends with the process
		_, _ = io.Copy(io.Discard, rest)
		if !l.Lasting {
			cancel(errEnded)
		}
	}()
	go func() { // ends with the process
		for s := range a.Signals {
			n, ok := s.(syscall.Signal)
			switch {
			case ok && n == leaveSignal:
				h.tell(evDrain{leaves: true})
			case ok && l.Lasting: // nobody waits at a terminal: this host leaves the job
				cancel(errEnded)
			case ok:
				h.tell(evSignal{signal: n}) // what follows from it is the launcher's to decide
			}
		}
	}()
	go func() { // a host that sees the launcher's no more has nothing to do with it: client ends
		for range hosts.Sightings() {
		}
	}()
	err = h.obey()
	cancel(err) // what still waits to be told isn't any more
	h.agent.close(drainBound)
	if errors.Is(context.Cause(ctx), errEnded) {
		return nil
	}
	return err
}

// errEnded means that the launcher wants this agent no more, or is gone.
var errEnded = errors.New("the launcher has ended it")

// obey carries out orders until there can be none any more.
func (h *hostAgent) obey() error {
	done := uint64(0)
	for {
		orders, err := h.client.Orders(h.ctx, h.name, done)
		if err != nil {
			return err
		}
		for _, o := range orders {
			if o.Seq <= done {
				continue
			}
			done = o.Seq
			switch {
			case o.Start != nil:
				h.start(*o.Start)
			case o.Signal != nil:
				h.agent.signal(o.Signal.Member, syscall.Signal(o.Signal.Signal))
			case o.Label != nil:
				h.agent.label(o.Label.Member, o.Label.Rank)
			case o.End:
				return errEnded
			}
		}
	}
}

// start starts a candidate, and tells whether it runs.
func (h *hostAgent) start(o control.StartOrder) {
	path, dir, err := h.ready(o)
	pid := 0
	if err == nil {
		pid, err = h.agent.start(order{member: o.Member, rank: o.Rank, path: path, args: o.Args, env: withFlights(merge(h.environ, o.Env)), dir: dir})
	}
	if err != nil {
		h.tell(evNotStarted{o.Member, fmt.Errorf("on %s: %w", h.host, err)})
		return
	}
	h.tell(evStarted{o.Member, pid})
}

// ready has all that a candidate needs on this host: its program and its folder.
func (h *hostAgent) ready(o control.StartOrder) (path, dir string, err error) {
	if path, err = h.program(o); err != nil {
		return "", "", err
	}
	if len(o.Files) == 0 {
		if info, err := os.Stat(o.Dir); err == nil && info.IsDir() {
			return path, o.Dir, nil
		}
	}
	dir = filepath.Join(h.folder, "work")
	for _, f := range o.Files {
		if !filepath.IsLocal(f.Name) {
			return "", "", fmt.Errorf("file %s: is outside of the job's folder", f.Name)
		}
		if err := h.fetch(f.Digest, filepath.Join(dir, f.Name), os.FileMode(f.Mode).Perm()); err != nil {
			return "", "", err
		}
	}
	return path, dir, os.MkdirAll(dir, 0o700)
}

// lines tells what a rank has written.
func (h *hostAgent) lines(stderr bool, rank int, raw, prefixed []byte) {
	_ = h.news(control.AgentNews{Output: &control.AgentOutput{Rank: rank, Error: stderr, Raw: raw, Shown: prefixed}}) // obey notices what is wrong
}

// tell tells what has become of a candidate.
func (h *hostAgent) tell(e event) {
	if n := newsOf(e); n != nil {
		_ = h.news(*n) // obey notices what is wrong
	}
}

func (h *hostAgent) news(n control.AgentNews) error {
	n.Host = h.name
	return h.client.News(h.ctx, n)
}

// routeTo is the address of this host that a connection to addr would come from.
func routeTo(addr string) (string, error) {
	c, err := net.Dial("udp", addr) // sends nothing
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }() // nothing was sent
	return c.LocalAddr().(*net.UDPAddr).IP.String(), nil
}

// freePortsOn finds ports on which nobody listens.
func freePortsOn(addr string, n int) ([]int, error) {
	release, ports, err := holdPorts(addr, n)
	if err != nil {
		return nil, fmt.Errorf("no free port for MASTER_PORT: %w", err)
	}
	release()
	slices.Sort(ports)
	return ports, nil
}

// holdPorts finds ports, and keeps others from them until they are released.
func holdPorts(addr string, n int) (release func(), ports []int, err error) {
	var held []net.Listener
	release = func() {
		for _, l := range held {
			_ = l.Close() // nobody has connected
		}
	}
	for range n {
		l, err := net.Listen("tcp", net.JoinHostPort(addr, "0"))
		if err != nil {
			release()
			return nil, nil, err
		}
		held = append(held, l)
		ports = append(ports, l.Addr().(*net.TCPAddr).Port) // the address of a TCP listener
	}
	return release, ports, nil
}
