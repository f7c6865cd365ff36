package control

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// agents serves the agents of a test's job, which tell what they say to the channel.
func agents(t *testing.T, j *job) (*Agents, <-chan AgentNews) {
	t.Helper()
	news := make(chan AgentNews, 64)
	a, err := j.hub.ServeAgents(func(n AgentNews) error { news <- n; return nil })
	if err != nil {
		t.Fatal(err)
	}
	return a, news
}

func TestOrdersReachTheirAgentOnceAndInOrder(t *testing.T) {
	j := startJob(t)
	a, _ := agents(t, j)
	c := j.dial("agent h2")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	const total = 100
	go func() { // ends by itself
		for i := range total {
			a.Order("h2", AgentOrder{Signal: &SignalOrder{Member: "1.1", Signal: i}})
			a.Order("h3", AgentOrder{Signal: &SignalOrder{Member: "2.1", Signal: -1}})
		}
	}()
	next := 0
	for done := uint64(0); done < total; {
		orders, err := c.Orders(ctx, "h2", done)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := c.Orders(ctx, "h2", done); err != nil || again[0].Seq != orders[0].Seq {
			t.Fatalf("what an agent has not confirmed is not told again: %+v, %v", again, err)
		}
		for _, o := range orders {
			if o.Seq != done+1 || o.Signal.Signal != next {
				t.Fatalf("order %d is %+v, want number %d of signal %d", o.Seq, o.Signal, done+1, next)
			}
			done, next = o.Seq, next+1
		}
	}
}

func TestNewsArriveOnceAndInOrder(t *testing.T) {
	j := startJob(t)
	_, news := agents(t, j)
	c := j.dial("agent h2")
	for i := range 20 {
		if err := c.News(t.Context(), AgentNews{Host: "h2", Started: &AgentStarted{Member: "1.1", PID: i}}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		if n := <-news; n.Started == nil || n.Started.PID != i {
			t.Fatalf("news number %d is %+v", i, n)
		}
	}
	select {
	case n := <-news:
		t.Errorf("told again: %+v", n)
	default:
	}
}

func TestFetch(t *testing.T) {
	j := startJob(t)
	a, _ := agents(t, j)
	c := j.dial("agent h2")
	content := bytes.Repeat([]byte("all of it "), 2*fileBytes/10+7)
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	digest, err := a.Offer(path)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := c.Fetch(t.Context(), digest, &got); err != nil || !bytes.Equal(got.Bytes(), content) {
		t.Fatalf("fetched %d bytes and %v, want %d", got.Len(), err, len(content))
	}
	full := errors.New("no space left on device")
	if err := c.Fetch(t.Context(), digest, writer(func([]byte) (int, error) { return 0, full })); !errors.Is(err, full) {
		t.Errorf("onto a full disk: %v", err)
	}
	if err := c.Fetch(t.Context(), strings.Repeat("0", 64), &got); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("a file that wasn't offered: %v", err)
	}
	// It changes under the hands of the launcher.
	if err := os.WriteFile(path, slices.Concat([]byte("not"), content[3:]), 0o600); err != nil {
		t.Fatal(err)
	}
	got.Reset()
	if err := c.Fetch(t.Context(), digest, &got); err == nil || !strings.Contains(err.Error(), "was changed meanwhile") {
		t.Errorf("a file that was changed: %v", err)
	}
}

type writer func(p []byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }
