package tcp

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/collective/transport"
)

// TestMain lets the test's program be a rank that another process can kill.
func TestMain(m *testing.M) {
	if os.Getenv("GORUN_TCP_TEST_RANK") != "" {
		victim()
		return
	}
	os.Exit(m.Run())
}

// victim is rank 1 of 3. It reads its peers' addresses, joins, opens a lane to rank 0 and
// waits for what does not come.
func victim() {
	f, err := Listen(testConfig())
	if err != nil {
		panic(err)
	}
	fmt.Println(f.Addr())
	var a, c string
	if _, err := fmt.Scan(&a, &c); err != nil {
		panic(err)
	}
	m, err := f.Mesh(f.ctx, 1, 1, threePeers(a, f.Addr(), c))
	if err != nil {
		panic(err)
	}
	conn, err := m.Conn(0, 0)
	if err != nil {
		panic(err)
	}
	fmt.Println("joined")
	conn.Recv(transport.Tag{}, make([]byte, 1), nil)
}

func threePeers(addrs ...string) (peers []transport.Peer) {
	for rank, addr := range addrs {
		peers = append(peers, transport.Peer{Rank: rank, Host: "h", Addr: addr})
	}
	return peers
}

func TestKilledProcess(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(exe)
	child.Env = append(os.Environ(), "GORUN_TCP_TEST_RANK=1")
	child.Stderr = os.Stderr
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer child.Wait()
	defer child.Process.Kill()
	var addr, word string
	if _, err := fmt.Fscan(out, &addr); err != nil {
		t.Fatal(err)
	}
	a, c := listen(t, testConfig()), listen(t, testConfig())
	if _, err := io.WriteString(in, a.Addr()+" "+c.Addr()+"\n"); err != nil {
		t.Fatal(err)
	}
	peers := threePeers(a.Addr(), addr, c.Addr())

	var ranks sync.WaitGroup
	joined := make(chan struct{}, 2)
	errs := make([]error, 3)
	for _, rank := range []int{0, 2} {
		f := []*Fabric{a, nil, c}[rank]
		ranks.Go(func() {
			m, err := f.Mesh(t.Context(), 1, rank, peers)
			if err != nil {
				t.Error(err)
				joined <- struct{}{}
				return
			}
			defer m.Close(nil)
			conn, err := m.Conn(2-rank, 0) // waits for the other survivor, not for the victim
			if err != nil {
				t.Error(err)
			}
			joined <- struct{}{}
			errs[rank] = conn.Recv(transport.Tag{}, make([]byte, 1), nil)
		})
	}
	<-joined
	<-joined
	if _, err := fmt.Fscan(out, &word); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	ranks.Wait()
	took := time.Since(start)
	t.Logf("kill to the survivors' errors: %v", took)
	if took > 100*time.Millisecond {
		t.Errorf("the survivors knew after %v, want 100 ms at most", took)
	}
	for _, rank := range []int{0, 2} {
		if !errors.Is(errs[rank], transport.ErrLost) || !strings.Contains(errs[rank].Error(), "rank 1 on h") {
			t.Errorf("rank %d: got %v, want rank 1 to be lost", rank, errs[rank])
		}
	}
}

// A rank that is late in receiving is not lost, however little silence is tolerated: its
// kernel answers.
func TestLateReceiver(t *testing.T) {
	c := testConfig()
	c.Silence = 300 * time.Millisecond
	fabrics, peers := pair(t, c, c)
	meshes, errs := joinBoth(t, 10*time.Second, 1, fabrics, peers)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	a, err := meshes[0].Conn(1, 0)
	if err != nil {
		t.Fatal(err)
	}
	b, err := meshes[1].Conn(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 64<<20)
	sent := make(chan error, 1)
	go func() { sent <- a.Send(transport.Tag{}, p) }()
	late := time.NewTimer(1500 * time.Millisecond)
	select {
	case err := <-sent:
		t.Fatalf("64 MiB were sent to nobody: %v", err)
	case <-late.C:
	}
	if err := b.Recv(transport.Tag{}, make([]byte, len(p)), nil); err != nil {
		t.Error(err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	for _, m := range meshes {
		m.Close(nil)
	}
}

// A listener that has gone is a lost rank, named soon, not at the end of the context.
func TestNobodyListens(t *testing.T) {
	a, b := listen(t, testConfig()), listen(t, testConfig())
	peers := threePeers(a.Addr(), b.Addr())
	a.Close()
	_, err := b.Mesh(t.Context(), 1, 1, peers)
	if peer, ok := errors.AsType[*transport.PeerError](err); !ok || peer.Rank != 0 || !errors.Is(err, transport.ErrLost) {
		t.Errorf("got %v, want rank 0 to be lost", err)
	}
}
