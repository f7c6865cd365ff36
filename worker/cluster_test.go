package worker

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/collective/transport/inproc"
	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/internal/rendezvous"
)

// Cluster runs the ranks of a job as goroutines of a test: the real loop, rendezvous,
// collectives and an in-process fabric, without processes. It plays the supervisor.
type Cluster struct {
	t       testing.TB
	size    int
	network *inproc.Network
	store   *rendezvous.Memory
	saves   control.Checkpointing
	train   func(r *Rank) error
	ranks   sync.WaitGroup

	mu       sync.Mutex
	current  rendezvous.Generation
	seen     map[string]rendezvous.Sighting
	live     map[int]*Rank // by slot
	started  int
	finished map[string]bool
	why      string // of all generations
	errs     []error
	said     []string
	saved    []control.Saved
}

// Rank is one incarnation of a rank's process.
type Rank struct {
	Slot    int
	Ctx     context.Context
	P       *process
	cluster *Cluster
	kill    context.CancelCauseFunc
	fabric  *inproc.Fabric
	dead    bool
}

// RunCluster starts size ranks, each calling train (which calls Rank.Run), and returns what
// they failed with once all have ended. control may kill ranks meanwhile.
func RunCluster(t testing.TB, size int, saves control.Checkpointing, train func(r *Rank) error, meddle func(c *Cluster)) ([]error, *Cluster) {
	t.Helper()
	c := &Cluster{
		t: t, size: size, network: inproc.NewNetwork(), store: rendezvous.NewMemory(), saves: saves, train: train,
		seen: map[string]rendezvous.Sighting{}, live: map[int]*Rank{}, finished: map[string]bool{},
	}
	c.mu.Lock()
	for slot := range size {
		c.start(slot)
	}
	c.mu.Unlock()
	if meddle != nil {
		meddle(c)
	}
	c.ranks.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.errs, c
}

// Run is worker.Run for this rank.
func (r *Rank) Run(st *State, train func(ctx context.Context, s *Session) error) error {
	return r.P.run(r.Ctx, st, train)
}

func (c *Cluster) start(slot int) {
	c.started++
	id := fmt.Sprintf("%d.%d", slot, c.started)
	ctx, kill := context.WithCancelCause(context.Background())
	fabric := c.network.Fabric(id)
	r := &Rank{Slot: slot, Ctx: ctx, cluster: c, kill: kill, fabric: fabric}
	r.P = (&process{
		name: "test", job: clusterJob{c, r}, fabric: fabric, elastic: true, saves: c.saves,
		self: rendezvous.Member{ID: id, Host: "h", Addr: id, Slot: slot},
	}).start()
	c.live[slot] = r
	c.ranks.Go(func() {
		err := c.train(r)
		c.mu.Lock()
		if err != nil && !r.dead {
			c.errs = append(c.errs, fmt.Errorf("slot %d: %w", slot, err))
		}
		c.mu.Unlock()
		kill(nil)
		r.P.close(context.Background())
	})
}

// Kill ends the rank of a slot as kill -9 would, and starts another in its place.
func (c *Cluster) Kill(slot int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.live[slot]
	if r == nil || r.dead || c.current.Done {
		return
	}
	r.dead = true
	r.fabric.Kill()
	r.kill(fmt.Errorf("killed"))
	c.seen[r.P.self.ID] = rendezvous.Sighting{Member: r.P.self, By: "agent", State: rendezvous.Dead, Since: time.Now()}
	c.start(slot)
	c.decide()
}

// decide is what the supervisor does after every event.
func (c *Cluster) decide() {
	var seen []rendezvous.Sighting
	for _, s := range c.seen {
		seen = append(seen, s)
	}
	next, why, ok := rendezvous.Next(c.current, seen, time.Now(), rendezvous.Policy{Min: c.size, Max: c.size})
	if ok {
		c.why += why + "\n"
		c.commit(next)
	}
}

func (c *Cluster) commit(next rendezvous.Generation) {
	if err := c.store.Commit(context.Background(), c.current.ID, next); err != nil {
		c.t.Errorf("commit: %v", err)
		return
	}
	c.current = next
	c.finished = map[string]bool{}
}

// Generation is the newest committed generation's number.
func (c *Cluster) Generation() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current.ID
}

// clusterJob is a rank's line to its cluster. A dead rank's words are not heard.
type clusterJob struct {
	c *Cluster
	r *Rank
}

func (j clusterJob) heard(do func()) error {
	j.c.mu.Lock()
	defer j.c.mu.Unlock()
	if !j.r.dead {
		do()
	}
	return nil
}

func (j clusterJob) Register(_ context.Context, m rendezvous.Member) error {
	return j.heard(func() {
		j.c.seen[m.ID] = rendezvous.Sighting{Member: m, By: m.ID, State: rendezvous.Registered, Since: time.Now()}
		j.c.decide()
	})
}

func (j clusterJob) Finish(_ context.Context, f control.Finish) error {
	return j.heard(func() {
		if f.Generation != j.c.current.ID {
			return
		}
		j.c.finished[f.Member] = true
		if len(j.c.finished) == j.c.size {
			j.c.commit(rendezvous.Generation{ID: j.c.current.ID + 1, Members: j.c.current.Members, Done: true})
		}
	})
}

func (j clusterJob) Watch(ctx context.Context, after uint64) (rendezvous.Generation, error) {
	return j.c.store.Watch(ctx, after)
}

func (j clusterJob) Saved(_ context.Context, s control.Saved) error {
	return j.heard(func() { j.c.saved = append(j.c.saved, s) })
}

func (j clusterJob) Stranded(_ context.Context, s control.Stranded) error {
	return j.heard(func() {
		sighting := j.c.seen[s.Member]
		sighting.Stranded = s.Generation
		j.c.seen[s.Member] = sighting
		j.c.decide()
	})
}

func (j clusterJob) Say(_ context.Context, line string) error {
	return j.heard(func() { j.c.said = append(j.c.said, line) })
}

func (j clusterJob) Report(control.Report) error                 { return nil }
func (j clusterJob) Fail(context.Context, control.Failure) error { return nil }
func (j clusterJob) Commands() <-chan control.Command            { return nil }
func (j clusterJob) Close() error                                { return nil }
