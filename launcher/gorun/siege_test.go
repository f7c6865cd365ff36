package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gorun-ml/gorun/internal/stranger"
	"github.com/gorun-ml/gorun/launcher"
)

// besiege TIME sends strangers to every port that the only job has opened: those of gorun
// and of its ranks.
func besiege(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: besiege TIME")
	}
	bound, err := time.ParseDuration(args[0])
	ts.Check(err)
	var tcp, udp []string
	again := time.NewTicker(20 * time.Millisecond) // a rank may just be replaced
	defer again.Stop()
	for began := time.Now(); ; <-again.C {
		jobs, err := launcher.Jobs(launcher.RuntimeFolder(func(name string) (string, bool) { return ts.Getenv(name), true }))
		ts.Check(err)
		if len(jobs) != 1 || len(jobs[0].Ranks) == 0 {
			ts.Fatalf("%d jobs run, want one", len(jobs))
		}
		pids := []int{parent(ts, jobs[0].Ranks[0].PID)}
		for _, r := range jobs[0].Ranks {
			pids = append(pids, r.PID)
		}
		tcp, udp = ports(ts, "tcp", pids), ports(ts, "udp", pids)
		if len(tcp) >= 2+len(jobs[0].Ranks) && len(udp) > 0 {
			break
		}
		if time.Since(began) > 20*time.Second {
			ts.Fatalf("%d TCP and %d UDP ports are open, want the broker's, the gossip's and one for each of %d ranks", len(tcp), len(udp), len(jobs[0].Ranks))
		}
	}
	ts.Logf("attacking %v by TCP, %v by UDP", tcp, udp)
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	made := stranger.Besiege(ctx, tcp, udp)
	ts.Logf("%d connections", made)
	if made == 0 {
		ts.Fatalf("nobody has got through")
	}
}

// parent is the process that has started another.
func parent(ts *testscript.TestScript, pid int) int {
	stat := ts.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	n, err := strconv.Atoi(fields[1])
	ts.Check(err)
	return n
}

// ports are the addresses that processes listen on. One of UDP listens where it is bound.
func ports(ts *testscript.TestScript, network string, pids []int) (addrs []string) {
	state := map[string]string{"tcp": "0A", "udp": "07"}[network]
	table := ts.ReadFile("/proc/self/net/" + network)
	for _, pid := range pids {
		links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		ts.Check(err)
		for _, link := range links {
			to, err := os.Readlink(link)
			inode, socket := strings.CutPrefix(to, "socket:[")
			if err != nil || !socket {
				continue // it was closed meanwhile, or is something else
			}
			inode = strings.TrimSuffix(inode, "]")
			for line := range strings.Lines(table) {
				f := strings.Fields(line)
				if len(f) > 9 && f[9] == inode && f[3] == state && !slices.Contains(addrs, address(ts, f[1])) {
					addrs = append(addrs, address(ts, f[1]))
				}
			}
		}
	}
	return addrs
}

// address reads 0100007F:1F90, which is 127.0.0.1:8080.
func address(ts *testscript.TestScript, s string) string {
	ip, port, _ := strings.Cut(s, ":")
	b, err := hex.DecodeString(ip)
	ts.Check(err)
	slices.Reverse(b)
	n, err := strconv.ParseUint(port, 16, 16)
	ts.Check(err)
	return net.JoinHostPort(net.IP(b).String(), strconv.FormatUint(n, 10))
}
