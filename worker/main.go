package worker

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gorun-ml/gorun/collective/transport/inproc"
	"github.com/gorun-ml/gorun/collective/transport/tcp"
	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/internal/rendezvous"
	"github.com/gorun-ml/gorun/kernels"
)

// protocol is the version that ranks must have in common.
const protocol = "gorun/1"

// Bounds on the ends of a process's life.
const (
	joinTimeout = 2 * time.Minute // for the control plane, or rank 0 of a bare job, to answer
	stopGrace   = 4 * time.Second // for a step boundary, after a signal
	leaveGrace  = 5 * time.Second // for the last words
)

type processKey struct{}

// Main is the main function of a training program. It parses the flags, runs f, reports an
// error in one line, and exits. The first SIGINT or SIGTERM stops training after the step
// under way, on all ranks; a second one ends the process at once.
func Main(f func(ctx context.Context) error) {
	os.Exit(run(f))
}

func run(f func(ctx context.Context) error) (status int) {
	program := filepath.Base(os.Args[0])
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	p, err := fromEnvironment(ctx)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", program, err)
		_, status := classify(err)
		return status
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	var received atomic.Int64
	go func() { // ends with the process
		if s, ok := (<-signals).(syscall.Signal); ok {
			received.Store(int64(s))
		}
		p.stop()
		if p.rank.Load() >= 0 {
			select {
			case <-signals:
			case <-time.After(stopGrace):
			}
		}
		cancel(ErrStopped)
	}()
	help, err := parseFlags(program)
	switch {
	case help:
		return p.help(ctx)
	case err == nil:
		err = f(context.WithValue(ctx, processKey{}, p))
	}
	switch {
	case errors.Is(err, ErrReleased):
		err = nil
	case err != nil && errors.Is(context.Cause(ctx), ErrStopped):
		err = ErrStopped
	}
	last, done := context.WithTimeout(context.WithoutCancel(ctx), leaveGrace)
	defer done()
	if err != nil {
		status = p.fail(last, err)
		if n := received.Load(); n != 0 && errors.Is(err, ErrStopped) {
			status = 128 + int(n)
		}
		if !p.quiet {
			fmt.Fprintf(os.Stderr, "%s: %v\n", program, err)
		}
	}
	if err := p.close(last); err != nil && status == 0 {
		fmt.Fprintf(os.Stderr, "%s: %v\n", program, err)
		_, status = classify(err)
	}
	return status
}

// help tells how the program is used, once a job.
func (p *process) help(ctx context.Context) (status int) {
	if p.self.Slot == 0 {
		os.Args[0] = filepath.Base(os.Args[0]) // what package flag shows
		flag.CommandLine.SetOutput(os.Stdout)
		flag.Usage()
	}
	p.job.Fail(ctx, control.Failure{Member: p.self.ID, Rank: -1, Kind: control.KindHelp, Detail: "the program's help was asked for"})
	return 0
}

// parseFlags parses the command line unless the program does so itself.
func parseFlags(program string) (help bool, err error) {
	declared := false
	flag.VisitAll(func(*flag.Flag) { declared = true })
	if !declared || flag.Parsed() {
		return false, nil
	}
	flag.CommandLine.Init(program, flag.ContinueOnError)
	flag.CommandLine.SetOutput(nothing{})
	err = flag.CommandLine.Parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return true, nil
	}
	if err != nil {
		return false, BadInput(fmt.Errorf("%w: see %s --help", err, program))
	}
	return false, nil
}

// nothing swallows what package flag would say once a rank.
type nothing struct{}

func (nothing) Write(p []byte) (int, error) { return len(p), nil }

// fromEnvironment opens the way to the job that this process was started for.
func fromEnvironment(ctx context.Context) (*process, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, joinTimeout, fmt.Errorf("no answer within %v", joinTimeout))
	defer cancel()
	env, launched, err := control.ParseEnv(os.LookupEnv)
	network, bad := networkFromEnvironment(os.LookupEnv)
	guards, unclear := control.ParseGuards(os.LookupEnv)
	if err = cmp.Or(err, bad, unclear); err != nil {
		return nil, BadInput(err)
	}
	var p *process
	_, ranked := os.LookupEnv("RANK")
	switch {
	case launched:
		p, err = fromLauncher(ctx, env)
	case ranked:
		p, err = fromBare(ctx)
	default:
		p, err = alone()
	}
	if err != nil {
		return nil, err
	}
	p.network, p.guards = network, guards
	if err := p.checkGuards(); err != nil {
		return nil, errors.Join(err, p.fabric.Close(), p.job.Close())
	}
	if dir, err := os.UserCacheDir(); err == nil { // without one, nothing is kept
		p.cache = filepath.Join(dir, "gorun")
	}
	return p.start(), nil
}

// fromLauncher joins a job that gorun started. Ranks of one host share its processors.
func fromLauncher(ctx context.Context, env control.Env) (*process, error) {
	secret, err := control.ReadSecret(env.SecretFD)
	if err != nil {
		return nil, err
	}
	if _, set := os.LookupEnv("GOMAXPROCS"); !set {
		runtime.GOMAXPROCS(processors(env.LocalWorldSize))
	}
	client, err := control.Dial(ctx, env, secret)
	if err != nil {
		return nil, err
	}
	fabric, err := listen(env.Bind, env.Job, secret)
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return &process{
		name: env.Job, job: client, fabric: fabric, saves: env.Checkpoint, stall: env.Stall, patience: env.Patience, flight: env.Flight, elastic: true, quiet: true,
		self: rendezvous.Member{ID: env.Member, Host: env.Host, Addr: fabric.Addr(), Slot: env.Slot, PID: os.Getpid()},
	}, nil
}

// fromBare joins ranks that were started by something else, by RANK, WORLD_SIZE,
// MASTER_ADDR and MASTER_PORT alone.
func fromBare(ctx context.Context) (*process, error) {
	number := func(name string) (int, error) {
		n, err := strconv.Atoi(os.Getenv(name))
		if err != nil {
			return 0, BadInput(fmt.Errorf("%s=%q is not a number: RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT must be set together", name, os.Getenv(name)))
		}
		return n, nil
	}
	rank, e1 := number("RANK")
	size, e2 := number("WORLD_SIZE")
	port, e3 := number("MASTER_PORT")
	if err := errors.Join(e1, e2, e3); err != nil {
		return nil, err
	}
	bare, err := control.DialBare(ctx, rank, size, os.Getenv("MASTER_ADDR"), port)
	if err != nil {
		return nil, err
	}
	fabric, err := listen(bare.Bind(), bare.Job(), bare.Secret())
	if err != nil {
		return nil, errors.Join(err, bare.Close())
	}
	machine, _ := os.Hostname() // without a name, its address must do
	_, set := os.LookupEnv("GOMAXPROCS")
	return &process{
		name: bare.Job(), job: bare, fabric: fabric, share: !set,
		self: rendezvous.Member{ID: "rank-" + strconv.Itoa(rank), Host: hostName(machine, bare.Bind()), Addr: fabric.Addr(), Slot: rank, PID: os.Getpid()},
	}, nil
}

func listen(bind, job string, secret [control.SecretBytes]byte) (*tcp.Fabric, error) {
	return tcp.Listen(tcp.Config{Listen: net.JoinHostPort(bind, "0"), Job: job, Secret: secret, Version: protocol, CRC32C: kernels.CRC32C})
}

// alone is a job of this process only.
func alone() (*process, error) {
	name := rand.Text()[:8]
	return &process{
		name: name, fabric: inproc.NewNetwork().Fabric(name),
		job:  newSolo(1, func(line string) { fmt.Println(line) }),
		self: rendezvous.Member{ID: name, Host: "localhost", Addr: name, PID: os.Getpid()},
	}, nil
}
