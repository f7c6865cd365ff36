package cluster

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestMain is also what tests start as processes of their own: job agents and daemons. It
// fails where something that was closed still runs.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "process" {
		os.Exit(process(os.Args[2], os.Args[3:]))
	}
	status := m.Run()
	if left := leftRunning(5 * time.Second); status == 0 && left != "" {
		fmt.Fprintf(os.Stderr, "still running after all was closed:\n%s\n", left)
		status = 1
	}
	os.Exit(status)
}

// process is one that a test has started.
func process(what string, args []string) int {
	switch what {
	case "agent": // a job agent that leaves its letter in a file
		letter, err := bufio.NewReader(os.Stdin).ReadString('\n')
		if err == nil && len(args) > 0 {
			err = os.WriteFile(args[0], []byte(letter), 0o600)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println("hello")
		fmt.Println(Ready)
		_, _ = io.Copy(io.Discard, os.Stdin)
		return 0
	case "lasting": // until SIGTERM; its letter is the file in which it says so
		end := make(chan os.Signal, 1)
		signal.Notify(end, syscall.SIGTERM)
		letter, err := bufio.NewReader(os.Stdin).ReadString('\n')
		if err != nil {
			return 1
		}
		fmt.Println(Ready)
		<-end
		if err := os.WriteFile(strings.TrimSpace(letter), []byte("ended by SIGTERM"), 0o600); err != nil {
			return 1
		}
		return 0
	case "leaves": // when its host is about to go
		gone := make(chan os.Signal, 1)
		signal.Notify(gone, leaveSignal)
		fmt.Println(Ready)
		<-gone
		return 0
	case "dies":
		fmt.Fprintln(os.Stderr, "first words")
		fmt.Fprintln(os.Stderr, "no libgorun here")
		return 3
	case "silent": // until it is killed
		forever()
	case "stubborn": // ready, but it doesn't end, nor does what it has started
		cmd := exec.Command(os.Args[0], "process", "silent")
		if err := cmd.Start(); err != nil {
			return 1
		}
		if err := os.WriteFile(args[0], fmt.Appendf(nil, "%d\n", cmd.Process.Pid), 0o600); err != nil {
			return 1
		}
		fmt.Println(Ready)
		forever()
	case "daemon": // of the options on its standard input
		var o Options
		if err := json.NewDecoder(os.Stdin).Decode(&o); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		d, err := Listen(o)
		if err == nil {
			fmt.Println(d.Addr())
			err = d.Serve(ctx)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}
	return 2
}

// forever waits for what nobody sends: the runtime must not take it for a deadlock.
func forever() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR1)
	<-c
}

// leftRunning returns a goroutine of this package, or of gossip, that is still there when
// within has passed. The library doesn't wait for all of its own to end.
func leftRunning(within time.Duration) string {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); ; <-tick.C {
		left := ""
		buf := make([]byte, 8<<20)
		for _, stack := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			ours := strings.Contains(stack, "launcher/cluster.") || strings.Contains(stack, "hashicorp/memberlist")
			if ours && !strings.Contains(stack, "TestMain") {
				left = stack
			}
		}
		if left == "" || time.Since(began) > within {
			return left
		}
	}
}

// running is a daemon that a test has started in its own process.
type running struct {
	*Daemon
	stop context.CancelFunc
	over chan struct{}
	err  error

	mu   sync.Mutex
	logs []string
}

var testKey = Key{1, 2, 3}

// options are those of a daemon of a test.
func options(name, bind string, join ...string) Options {
	return Options{
		Key: testKey, Name: name, Bind: bind, Join: join, Slots: 4, Cores: 2, MemoryBytes: 8 << 30,
		GPUs: []string{"NVIDIA H100 80GB HBM3, 81559 MiB", "NVIDIA H100 80GB HBM3, 81559 MiB"}, Labels: map[string]string{"rack": "3"},
		Version: "gorun v1 (test)", Child: []string{os.Args[0], "process", "agent"},
	}
}

func start(t *testing.T, o Options) *running {
	t.Helper()
	r := &running{over: make(chan struct{})}
	o.Log = func(line string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.logs = append(r.logs, line)
	}
	var err error
	if r.Daemon, err = Listen(o); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	go func() {
		defer close(r.over)
		r.err = r.Serve(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-r.over
	})
	return r
}

// said says whether a line of the log has the text in it.
func (r *running) said(text string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, line := range r.logs {
		if strings.Contains(line, text) {
			return true
		}
	}
	return false
}

// knows says how many hosts the daemon knows, itself included.
func (r *running) knows() int { return len(r.status().Hosts) }

// eventually waits until something is the case, and returns how long it took.
func eventually(t *testing.T, within time.Duration, what string, is func() bool) time.Duration {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); ; <-tick.C {
		if is() {
			return time.Since(began)
		}
		if time.Since(began) > within {
			t.Fatalf("after %v it isn't so that %s", within, what)
		}
	}
}

// find asks a daemon.
func find(t *testing.T, join ...string) *Client {
	t.Helper()
	c, err := Find(t.Context(), join, testKey, Caller{Version: "gorun v1 (test)"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// wants checks that an error is of a cause and names what it has to.
func wants(t *testing.T, err, cause error, parts ...string) {
	t.Helper()
	if !errors.Is(err, cause) {
		t.Fatalf("%v, want: %v", err, cause)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("more than one line: %q", err)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q doesn't name %q", err, part)
		}
	}
}
