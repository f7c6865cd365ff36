package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
)

// srun runs the same command as several tasks: srun -n 8 gorun train.go. The first launches
// the job, on all nodes, and the others have nothing to do but not to end before it: Slurm
// may be configured to end a step some time after its first task has ended.
//
//	task 0   gorun ──────────────────────────── ends, however
//	         └ shell, its own orphan: waits for that, then has Slurm send ┐
//	task 1   gorun waits ─────────────────────────────────── SIGWINCH ────┘ ends
//
// Slurm carries the word, so that there is no port and nobody else can say it. The signal is
// one that ends nobody who does not wait for it, and is sent until the step is over: a task
// may be late.

// vigil is what the shell runs. Its standard input ends with gorun.
const vigil = `trap '' HUP INT TERM
exec 3<&0
{
	cat <&3
	n=0
	while [ $n -lt 100 ] && ! scancel --signal="$2" "$1" 2>&1 | grep -qE 'Invalid|completed'; do
		sleep 1
		n=$((n + 1))
	done
} </dev/null >/dev/null 2>&1 &`

// watchOver leaves a process behind that ends the waiting of this step's other tasks when
// this process has ended. What it returns must be kept open until then.
func watchOver(step string) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }() // the shell has its own
	cmd := exec.Command("/bin/sh", "-c", vigil, "sh", step, strconv.Itoa(int(syscall.SIGWINCH)))
	cmd.Stdin = r
	if err := cmd.Run(); err != nil { // what goes on does so in the background
		_ = w.Close() // nobody reads it
		return nil, fmt.Errorf("srun has started %s as several tasks, and a shell to end them could not be: %w", step, err)
	}
	return w, nil
}

// waitForTask returns when the task that launches has ended, or this one is to end.
func waitForTask() {
	over := make(chan os.Signal, 1)
	signal.Notify(over, syscall.SIGWINCH, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	<-over // Slurm ends the step in any case
}
