package launcher

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/launcher/hosts"
)

// TestMain is also the processes that tests start: a launcher, and job agents whose clocks
// are wrong.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "job-agent" {
		ahead, err := time.ParseDuration(os.Args[2])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		os.Exit(JobAgent{
			Version: "v", Environ: os.Environ(), In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
			Now: func() time.Time { return time.Now().Add(ahead) },
		}.Run())
	}
	if len(os.Args) > 2 && os.Args[1] == "launch" {
		os.Exit(launchOverClocks(os.Args[2]))
	}
	os.Exit(m.Run())
}

// clocks are by how much those of the hosts are ahead.
var clocks = map[string]string{"early": "1h", "late": "-1h", "right": "4s"}

// launchOverClocks runs a job with a rank on each host.
func launchOverClocks(runtime string) int {
	boot := func(_ context.Context, names []string, _ []int, letter []byte) (Booted, error) {
		return startJobAgent(clocks[names[0]], letter)
	}
	return Run(Options{
		Program: "true", NP: 3, StartTimeout: DefaultStartTimeout, Grace: DefaultGrace, Bind: DefaultBind,
		Hosts: []hosts.Host{{Name: "early", Slots: 1}, {Name: "late", Slots: 1}, {Name: "right", Slots: 1}},
		Reach: Reach{Each: boot, Addr: func(string) (string, error) { return "127.0.0.1", nil }}, Version: "v",
		Checkpoint: control.Checkpointing{Keep: 1}, Environ: os.Environ(), Runtime: runtime, Stdout: os.Stdout, Stderr: os.Stderr,
	}, nil)
}

// child is a job agent that was started here in place of another host.
type child struct {
	in    io.Closer
	ended chan struct{}
}

func startJobAgent(ahead string, letter []byte) (Booted, error) {
	cmd := exec.Command(os.Args[0], "job-agent", ahead)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &child{in: in, ended: make(chan struct{})}
	_, bad := in.Write(letter)
	line, err := bufio.NewReader(out).ReadString('\n')
	go func() { // Close joins it
		defer close(c.ended)
		_ = cmd.Wait() // its words were shown
	}()
	if err = errors.Join(bad, err); err != nil || strings.TrimSpace(line) != AgentReady {
		return nil, errors.Join(fmt.Errorf("said %q", line), err, c.Close())
	}
	return c, nil
}

func (c *child) Ended() <-chan struct{} { return c.ended }
func (c *child) Err() error             { return nil }

func (c *child) Close() error {
	err := c.in.Close()
	<-c.ended
	return err
}

func TestALaunchWarnsOfWrongClocks(t *testing.T) {
	out, err := exec.Command(os.Args[0], "launch", t.TempDir()).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for host, off := range map[string]string{"early": "(1h0m0s|59m[0-9]+s)", "late": "-1h0m[0-9]+s"} { // a word may take a while
		want := "(?m)^gorun: warning: the clock of host " + host + " is " + off + " off: times that it writes are wrong, nothing else$"
		if n := len(regexp.MustCompile(want).FindAll(out, -1)); n != 1 {
			t.Errorf("%d lines are %s, want one:\n%s", n, want, out)
		}
	}
	if strings.Contains(string(out), "right") {
		t.Errorf("a clock that is almost right is told of:\n%s", out)
	}
}
