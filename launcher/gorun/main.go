// Command gorun starts a training program on several ranks and keeps them alive.
package main

import (
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/gorun-ml/gorun/launcher"
)

func main() { os.Exit(run(os.Args[1:])) }

// run is main without the exit.
func run(args []string) int {
	// A reader of our output that goes away is an error to write to, not our death.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	signals := make(chan os.Signal, 2)
	cmd := &command{signals: signals, listen: func(more ...os.Signal) {
		signal.Notify(signals, append(more, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)...)
	}}
	root := cmd.root()
	root.SetArgs(normalise(root, args))
	err := root.Execute()
	switch r := (*launcher.Refusal)(nil); {
	case err == nil:
		return cmd.status
	case errors.As(err, &r):
		return launcher.Refuse(r, cmd.options.Verdict, os.Stderr)
	default:
		return launcher.Refuse(usage(err), cmd.options.Verdict, os.Stderr)
	}
}
