package shm

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/collective/transport/tcp"
)

const asRank = "serve-as-rank"

// The test binary is also the program of the ranks that are processes of their own.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == asRank {
		if err := serve(); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

const patience = 20 * time.Second

func testPeers(addrs []string) []transport.Peer {
	var peers []transport.Peer
	for rank, addr := range addrs {
		peers = append(peers, transport.Peer{Rank: rank, ID: addr, Host: "h", Addr: addr})
	}
	return peers
}

func openFabric(c Config) (*Fabric, error) {
	inner, err := tcp.Listen(tcp.Config{Job: "7f3a", Secret: [32]byte{1, 2, 3}, Version: "v1"})
	if err != nil {
		return nil, err
	}
	f, err := New(inner, c)
	if err != nil {
		inner.Close()
	}
	return f, err
}

// serve does what it reads, one command a line, and answers each with a line.
func serve() error {
	f, err := openFabric(Config{Require: true})
	if err != nil {
		return err
	}
	defer f.Close()
	fmt.Println(f.Addr())
	r := &servant{fabric: f}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if err := r.do(lines.Text()); err != nil {
			fmt.Printf("error: %v\n", err)
		} else {
			fmt.Println("done")
		}
	}
	return nil
}

type servant struct {
	fabric *Fabric
	mesh   *Mesh
	rank   int
	held   []byte
}

func (r *servant) do(line string) error {
	verb, rest, _ := strings.Cut(line, " ")
	var lane, size, rounds, tick, at int
	switch verb {
	case "join":
		var gen uint64
		fmt.Sscan(rest, &gen, &r.rank)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		_ = cancel // the mesh ends with it
		m, err := r.fabric.Mesh(ctx, gen, r.rank, testPeers(strings.Fields(rest)[2:]))
		if err != nil {
			return err
		}
		r.mesh = m.(*Mesh)
		return nil
	case "echo":
		fmt.Sscan(rest, &lane, &size, &rounds)
		return echo(r.mesh, lane, size, rounds)
	case "tick":
		fmt.Sscan(rest, &lane, &tick, &rounds)
		return ticks(r.mesh, r.rank, 0, lane, tick, rounds)
	case "barrier":
		fmt.Sscan(rest, &size, &tick, &rounds)
		return barriers(r.mesh, r.rank, size, tick, rounds)
	case "hold":
		fmt.Sscan(rest, &at, &size)
		var err error
		r.held, err = r.mesh.Memory(0, uint64(at), size)
		return err
	case "write":
		for i := range r.held {
			r.held[i] = 0xee
		}
		return nil
	case "close":
		return r.mesh.Close(nil)
	}
	return fmt.Errorf("unknown: %q", line)
}

// echo returns frames to rank 0.
func echo(m *Mesh, lane, size, rounds int) error {
	c, err := m.Conn(0, lane)
	if err != nil {
		return err
	}
	p := make([]byte, size)
	for i := range rounds {
		if err := c.Recv(transport.Tag{Seq: uint32(i)}, p, nil); err != nil {
			return err
		}
		if err := c.Send(transport.Tag{Seq: uint32(i)}, p); err != nil {
			return err
		}
	}
	return nil
}

// ticks exchanges ticks with another rank, that carry four bytes.
func ticks(m *Mesh, self, other, lane, from, rounds int) error {
	b, err := m.Board(lane)
	if err != nil {
		return err
	}
	for t := uint32(from); t < uint32(from+rounds); t++ {
		b.Note(self, t)[0] = byte(t)
		b.Publish(t)
		if err := b.Await(other, t); err != nil {
			return err
		}
		if got := b.Note(other, t)[0]; got != byte(t) {
			return fmt.Errorf("tick %d comes with the note %d", t, got)
		}
	}
	return nil
}

// barriers has all n ranks wait for each other.
func barriers(m *Mesh, self, n, from, rounds int) error {
	b, err := m.Board(1)
	if err != nil {
		return err
	}
	for t := uint32(from); t < uint32(from+rounds); t++ {
		b.Publish(t)
		for r := range n {
			if err := b.Await((self+r)%n, t); err != nil {
				return err
			}
		}
	}
	return nil
}

// ranks is rank 0, which is this process, and others that are not.
type ranks struct {
	t      testing.TB
	fabric *Fabric
	mesh   *Mesh
	others []*other
}

type other struct {
	t     testing.TB
	cmd   *exec.Cmd
	in    interface{ Write([]byte) (int, error) }
	lines *bufio.Scanner
	addr  string
	end   func()
}

func startRanks(t testing.TB, n int, c Config) *ranks {
	t.Helper()
	f, err := openFabric(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	r := &ranks{t: t, fabric: f}
	for range n - 1 {
		cmd := exec.Command(os.Args[0], asRank)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		o := &other{t: t, cmd: cmd, in: in, lines: bufio.NewScanner(out)}
		o.end = func() {
			in.Close()
			cmd.Process.Kill()
			cmd.Wait()
		}
		t.Cleanup(o.end)
		o.addr = o.answer()
		r.others = append(r.others, o)
	}
	return r
}

func (o *other) say(format string, args ...any) {
	if _, err := fmt.Fprintf(o.in, format+"\n", args...); err != nil {
		o.t.Fatal(err)
	}
}

func (o *other) answer() string {
	o.t.Helper()
	if !o.lines.Scan() {
		o.t.Fatal("a rank has died")
	}
	return o.lines.Text()
}

func (o *other) done() {
	o.t.Helper()
	if got := o.answer(); got != "done" {
		o.t.Fatal(got)
	}
}

// join has this process and the others join generation gen.
func (r *ranks) join(gen uint64, others ...*other) {
	r.t.Helper()
	addrs := []string{r.fabric.Addr()}
	for _, o := range others {
		addrs = append(addrs, o.addr)
	}
	for i, o := range others {
		o.say("join %d %d %s", gen, i+1, strings.Join(addrs, " "))
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	r.t.Cleanup(cancel)
	m, err := r.fabric.Mesh(ctx, gen, 0, testPeers(addrs))
	if err != nil {
		r.t.Fatal(err)
	}
	r.mesh = m.(*Mesh)
	for _, o := range others {
		o.done()
	}
}

// mapped is what of the shared memory of any rank is mapped here.
func mapped(t testing.TB) string {
	b, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, "memfd:gorun") {
			found = append(found, line)
		}
	}
	return strings.Join(found, "")
}

func TestProcesses(t *testing.T) {
	before, _ := os.ReadDir("/dev/shm")
	r := startRanks(t, 3, Config{Require: true})
	a, b := r.others[0], r.others[1]
	r.join(1, a, b)
	if ok, why := r.mesh.Shared(); !ok {
		t.Fatal("not shared: ", why)
	}
	for i, o := range r.others {
		o.say("echo 5 %d 20", 3<<20+1)
		c, err := r.mesh.Conn(i+1, 5)
		if err != nil {
			t.Fatal(err)
		}
		out, in := bytes.Repeat([]byte{1, 2, 3}, 1<<20+1)[:3<<20+1], make([]byte, 3<<20+1)
		for seq := range 20 {
			out[seq*1000]++
			tag := transport.Tag{Seq: uint32(seq)}
			if err := errors.Join(c.Send(tag, out), c.Recv(tag, in, nil)); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(in, out) {
				t.Fatal("other bytes came back than were sent")
			}
		}
		o.done()
		o.say("tick %d 1 2000", i)
		if err := ticks(r.mesh, 0, i+1, i, 1, 2000); err != nil {
			t.Fatal(err)
		}
		o.done()
	}

	// One is killed while the others wait for it and for each other.
	a.say("tick 2 1 100")
	board, _ := r.mesh.Board(3)
	failed := make(chan error)
	go func() { failed <- board.Await(2, 1) }()
	start := time.Now()
	b.cmd.Process.Kill()
	err := <-failed
	if took := time.Since(start); took > 100*time.Millisecond {
		t.Errorf("a death was seen after %v", took)
	}
	told := transport.Abort(0, err) // rank 1 may have seen it first
	if told.Rank != 2 || !errors.Is(err, transport.ErrLost) {
		t.Errorf("got %v, want rank 2 to be lost", err)
	}
	if got := a.answer(); !strings.Contains(got, "rank 2") || !strings.Contains(got, "lost") {
		t.Errorf("rank 1 says %q, want rank 2 to be lost", got)
	}
	r.mesh.Close(err)
	r.join(2, a)
	a.say("tick 2 1 100")
	if err := ticks(r.mesh, 0, 1, 2, 1, 100); err != nil {
		t.Error(err)
	}
	a.done()
	if got := strings.Count(mapped(t), "\n"); got != 2 {
		t.Errorf("%d ranks' memory is mapped where two live:\n%s", got, mapped(t))
	}

	a.say("close")
	a.done()
	if err := errors.Join(r.mesh.Close(nil), r.fabric.Close()); err != nil {
		t.Error(err)
	}
	if left := mapped(t); left != "" {
		t.Errorf("memory stays mapped:\n%s", left)
	}
	if after, _ := os.ReadDir("/dev/shm"); len(after) != len(before) {
		t.Errorf("%d files in /dev/shm, %d before", len(after), len(before))
	}
}

// A rank that a new generation has left behind can't write to the memory of those in it.
func TestLateWriter(t *testing.T) {
	r := startRanks(t, 3, Config{Require: true})
	a, b := r.others[0], r.others[1]
	p, err := r.fabric.Alloc(5<<20 + 100)
	if err != nil {
		t.Fatal(err)
	}
	r.join(1, a, b)
	at, _ := r.mesh.Place(p)
	write := func(o *other) {
		o.say("write")
		o.done()
	}
	for _, o := range r.others {
		o.say("hold %d %d", at, len(p))
		o.done()
		write(o)
		if p[0] != 0xee || p[len(p)-1] != 0xee {
			t.Fatal("what a rank of the generation writes is not seen")
		}
		clear(p)
	}
	for i := range p {
		p[i] = byte(i % 251)
	}
	r.mesh.Close(errors.New("rank 2 has stopped"))
	r.join(2, a)
	write(b)
	for i := range p {
		if p[i] != byte(i%251) {
			t.Fatalf("byte %d is %#x after a rank of an earlier generation has written", i, p[i])
		}
	}
	if again, ok := r.mesh.Place(p); !ok || again != at {
		t.Errorf("the memory has moved from %d to %d", at, again)
	}
	a.say("hold %d %d", at, len(p))
	a.done()
	write(a)
	if p[0] != 0xee || p[len(p)-1] != 0xee {
		t.Error("what a rank of the new generation writes is not seen")
	}
	if err := r.fabric.Free(p); err != nil {
		t.Error(err)
	}
}
