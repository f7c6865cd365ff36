package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/internal/rendezvous"
)

// joiner is a program for tests that joins its job and reports steps without training.
// It speaks internal/control directly, and has no data plane: what the launcher sees of it
// is what it sees of a worker.
func joiner() {
	j := &joinerProgram{}
	flag.IntVar(&j.steps, "steps", 10, "")
	flag.IntVar(&j.slot, "slot", -1, "which slot misbehaves")
	flag.IntVar(&j.at, "at", 5, "after which step")
	flag.StringVar(&j.do, "do", "", "what it does: exit3 exit0 panic kill hang early mismatch lost error")
	flag.BoolVar(&j.always, "always", false, "also when it was started anew")
	flag.StringVar(&j.tell, "tell", "", "fifo to write to when hanging")
	flag.BoolVar(&j.deaf, "deaf", false, "hang even when told to stop")
	flag.StringVar(&j.pids, "pids", "", "file to add the process number to")
	flag.Parse()
	if err := j.run(); err != nil {
		fmt.Fprintln(os.Stderr, "joiner:", err)
		os.Exit(1)
	}
}

type joinerProgram struct {
	steps, slot, at  int
	do, tell, pids   string
	always, deaf     bool
	env              control.Env
	client           *control.Client
	step, rank, size int
	gen              rendezvous.Generation
}

func (j *joinerProgram) run() error {
	ctx := context.Background()
	if j.pids != "" {
		f, err := os.OpenFile(j.pids, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		fmt.Fprintln(f, os.Getpid())
		f.Close()
	}
	env, ok, err := control.ParseEnv(os.LookupEnv)
	if !ok || err != nil {
		return fmt.Errorf("not under gorun: %w", err)
	}
	j.env = env
	secret, err := control.ReadSecret(env.SecretFD)
	if err != nil {
		return err
	}
	if j.misbehaves() && j.do == "early" {
		os.Exit(3)
	}
	if j.client, err = control.Dial(ctx, env, secret); err != nil {
		return err
	}
	defer j.client.Close()
	m := rendezvous.Member{ID: env.Member, Host: env.Host, Addr: "127.0.0.1:1", Slot: env.Slot, PID: os.Getpid()}
	if err := j.client.Register(ctx, m); err != nil {
		return err
	}
	generations := make(chan rendezvous.Generation)
	broken := make(chan error, 1)
	go func() {
		for after := uint64(0); ; {
			g, err := j.client.Watch(ctx, after)
			if err != nil {
				broken <- err
				return
			}
			generations <- g
			after = g.ID
		}
	}()
	for {
		select {
		case err := <-broken:
			return err
		case c := <-j.client.Commands():
			if c.Stop && !j.deaf {
				return j.stop(ctx, c)
			}
		case g := <-generations:
			if g.Done {
				return nil
			}
			j.gen, j.size = g, len(g.Members)
			if j.rank, ok = g.Rank(env.Member); !ok {
				continue // it was made before this one had registered
			}
			if err := j.train(ctx); err != nil {
				return err
			}
		}
	}
}

func (j *joinerProgram) misbehaves() bool {
	return j.env.Slot == j.slot && (j.always || strings.HasSuffix(j.env.Member, ".1"))
}

// train does the steps that are left, and says that it has finished.
func (j *joinerProgram) train(ctx context.Context) error {
	for j.step < j.steps {
		if j.step == j.at && j.misbehaves() {
			if hung, err := j.misbehave(ctx); hung || err != nil {
				return err
			}
		}
		j.step++
		loss := 1 / math.Sqrt(float64(j.step))
		err := j.client.Report(control.Report{
			Member: j.env.Member, Rank: j.rank, Generation: j.gen.ID, Size: j.size, T: float64(time.Now().UnixMicro()) / 1e6,
			Step: j.step, Steps: j.steps, Epoch: 1, Epochs: 1, StepOfEpoch: j.step, StepsPerEpoch: j.steps,
			Loss: &loss, Samples: 64, ComputeMS: 3, CommMS: 1, InputMS: 1,
		})
		if err != nil {
			return err
		}
	}
	return j.client.Finish(ctx, control.Finish{
		Member: j.env.Member, Rank: j.rank, Generation: j.gen.ID, Step: j.step, Summary: []string{"test accuracy 97.9 %"},
	})
}

func (j *joinerProgram) stop(ctx context.Context, c control.Command) error {
	if c.Checkpoint && j.rank == 0 {
		if err := j.client.Saved(ctx, control.Saved{Generation: j.gen.ID, Step: j.step, Path: j.env.Checkpoint.Dir + "/step-000000005"}); err != nil {
			return err
		}
	}
	j.fail(ctx, control.KindStopped, c.Why, 1)
	return nil
}

func (j *joinerProgram) fail(ctx context.Context, k control.Kind, detail string, status int) {
	f := control.Failure{Member: j.env.Member, Rank: j.rank, Generation: j.gen.ID, Kind: k, Detail: detail, Step: j.step, Status: status}
	if err := j.client.Fail(ctx, f); err != nil {
		fmt.Fprintln(os.Stderr, "joiner:", err)
	}
	j.client.Close()
	os.Exit(status)
}

func (j *joinerProgram) misbehave(ctx context.Context) (hung bool, err error) {
	switch j.do {
	case "exit3":
		j.client.Close() // so that the steps so far are reported
		os.Exit(3)
	case "exit0":
		os.Exit(0)
	case "panic":
		panic("index out of range in conv2")
	case "kill":
		return false, syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "mismatch":
		j.fail(ctx, control.KindMismatch, `"w1" is float32[4,8] here, float32[8,4] on rank 0`, control.StatusDisagree)
	case "lost":
		j.fail(ctx, control.KindLost, "rank 1: connection reset", 75)
	case "error":
		j.fail(ctx, control.KindError, "no such layer", 1)
	case "hang":
		if j.tell != "" {
			f, err := os.OpenFile(j.tell, os.O_WRONLY, 0)
			if err != nil {
				return false, err
			}
			fmt.Fprintln(f, os.Getppid())
			return true, f.Close()
		}
		return true, nil
	}
	return false, nil
}
