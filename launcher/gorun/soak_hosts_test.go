package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// soakedHost is an address of this machine, with an agent that offers slots there.
type soakedHost struct {
	name, bind string
	port       string // "0" before its first start
	kills      int
	agent      *exec.Cmd
	gone       chan struct{}
}

// mostKills bounds how often a host is killed: each time it is left alone for twice as long.
const mostKills = 5

// TestSoakHosts breaks an elastic job at random: hosts are killed with all that runs there, or
// asked to end, and are back; ranks are killed or stopped for good. Each step must be done, of all
// its samples.
func TestSoakHosts(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("addresses of this machine beside 127.0.0.1, and processes of a host, need Linux")
	}
	s := newSoaked(t)
	s.env = append(s.env, "XDG_CONFIG_HOME="+s.dir)
	var hosts []*soakedHost
	for i := range 3 {
		h := &soakedHost{name: fmt.Sprintf("soak%d", i+1), bind: fmt.Sprintf("127.0.0.%d", i+21), port: "0"}
		s.offer(h, hosts)
		hosts = append(hosts, h)
	}
	s.await("all hosts to know each other", func() bool {
		ask := exec.Command(s.gorun, "hosts", "--join", hosts[0].addr())
		ask.Env = s.env
		out, err := ask.Output()
		return err == nil && strings.Count(string(out), "\n") == len(hosts)+1 // one line is the header
	})
	metrics := filepath.Join(s.dir, "m.jsonl")
	s.start("--join", hosts[0].addr(), "--spread", "-np", "3", "--min-np", "1", "--elastic-timeout", "10m",
		"--restarts", "1000000", "--stall", "1s", "--metrics", metrics, s.train, "--epochs", "10000000")
	s.advance(3, 20)
	random := rand.New(rand.NewPCG(*soakSeed, 1))
	for i := range (*soakFaults + 1) / 2 {
		h := hosts[random.IntN(len(hosts))]
		ranks := s.state().Ranks
		victim := ranks[random.IntN(len(ranks))]
		switch what := random.IntN(4); {
		case what == 0:
			s.signal(victim.PID, syscall.SIGKILL)
		case what == 1:
			s.signal(victim.PID, syscall.SIGSTOP)
		case what == 2 && h.kills < mostKills:
			h.kills++
			for _, pid := range h.processes(t) {
				s.signal(pid, syscall.SIGKILL)
			}
			<-h.gone
			s.offer(h, hosts)
		default:
			s.signal(h.agent.Process.Pid, syscall.SIGTERM)
			select {
			case <-h.gone:
			case <-time.After(time.Minute):
				t.Fatalf("fault %d of seed %d: the agent of %s has not ended a minute after SIGTERM", i, *soakSeed, h.name)
			}
			s.offer(h, hosts)
		}
		s.advance(3, 20) // the host is used again, and no other fault finds the last copy of the state
	}
	s.signal(s.job.Process.Pid, syscall.SIGINT)
	select {
	case <-s.gone:
	case <-time.After(time.Minute):
		t.Fatal("the job has not ended a minute after SIGINT")
	}
	if status := s.job.ProcessState.ExitCode(); status != 130 {
		t.Errorf("status %d, want 130:\n%s", status, s.said.String())
	}
	checkSteps(t, metrics)
}

func (h *soakedHost) addr() string { return h.bind + ":" + h.port }

// offer starts a host's agent, and waits until it has said where it listens.
func (s *soaked) offer(h *soakedHost, others []*soakedHost) {
	s.Helper()
	args := []string{"agent", "--name", h.name, "--bind", h.bind, "--port", h.port, "--slots", "1"}
	for _, o := range others {
		if o != h {
			args = append(args, "--join", o.addr())
			break
		}
	}
	path := filepath.Join(s.dir, h.name+".log")
	log, err := os.Create(path)
	if err != nil {
		s.Fatal(err)
	}
	defer log.Close()
	h.agent, h.gone = exec.Command(s.gorun, args...), make(chan struct{})
	h.agent.Env, h.agent.Stdout, h.agent.Stderr = s.env, log, log
	h.agent.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := h.agent.Start(); err != nil {
		s.Fatal(err)
	}
	agent, gone := h.agent, h.gone
	go func() {
		_ = agent.Wait() // it is killed mostly
		close(gone)
	}()
	s.Cleanup(func() {
		_ = agent.Process.Signal(syscall.SIGTERM) // fails where it has ended
		select {
		case <-gone:
		case <-time.After(20 * time.Second):
			_ = agent.Process.Kill()
			<-gone
		}
	})
	s.await("an agent's address", func() bool {
		said, err := os.ReadFile(path)
		_, at, found := strings.Cut(string(said), " slot at ")
		addr, _, whole := strings.Cut(at, ";")
		if found && whole {
			h.port = addr[strings.LastIndex(addr, ":")+1:]
		}
		select {
		case <-gone:
			s.Fatalf("the agent of %s has ended: %s", h.name, said)
		default:
		}
		return err == nil && found && whole
	})
}

// processes are a host's agent and all below it.
func (h *soakedHost) processes(t *testing.T) []int {
	t.Helper()
	all := []int{h.agent.Process.Pid}
	for i := 0; i < len(all); i++ {
		lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", all[i]))
		if err != nil {
			t.Fatal(err)
		}
		for _, list := range lists {
			text, err := os.ReadFile(list)
			if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ESRCH) {
				t.Fatal(err)
			}
			for _, word := range strings.Fields(string(text)) {
				pid, err := strconv.Atoi(word)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, pid)
			}
		}
	}
	return all
}
