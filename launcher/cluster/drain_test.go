package cluster

import (
	"context"
	"os"
	"testing"
	"time"
)

func TestADrainedHostTakesNoJobAgents(t *testing.T) {
	a := start(t, options("h1", "127.0.0.1"))
	o := options("h2", "127.0.0.2", a.Addr())
	o.Child = []string{os.Args[0], "process", "leaves"}
	b := start(t, o)
	eventually(t, 5*time.Second, "both are known", func() bool { return a.knows() == 2 })
	c := find(t, a.Addr())
	first, err := c.Start(t.Context(), "h2", 1, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Drain(t.Context(), "h2", false); err != nil {
		t.Fatal(err)
	}
	freeOn(t, a, "h2", 0, 1)
	_, err = c.Start(t.Context(), "h2", 1, []byte("{}"))
	wants(t, err, ErrSlots, "host h2 is drained", "gorun drain --undo h2")
	if err := c.Drain(t.Context(), "h2", true); err != nil {
		t.Fatal(err)
	}
	freeOn(t, a, "h2", 3, 1)
	wants(t, c.Drain(t.Context(), "h9", false), ErrUsage, "no host h9 in the cluster: there is h1, h2")

	// Job agents are told when the host is about to go.
	b.Leave(context.Background())
	select {
	case <-first.Ended():
	case <-time.After(10 * time.Second):
		t.Error("the job agent still runs after its host was to be left")
	}
}
