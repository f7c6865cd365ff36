package launcher

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Health is what this machine can do for a job.
type Health struct {
	Host            string   `json:"host"`
	OS              string   `json:"os"`
	Arch            string   `json:"arch"`
	Cores           int      `json:"cores"`        // of the machine
	UsableCores     int      `json:"usable_cores"` // by this process: fewer under a quota
	MemoryBytes     uint64   `json:"memory_bytes"`
	FreeMemoryBytes uint64   `json:"free_memory_bytes"`
	SharedBytes     uint64   `json:"shm_bytes"`
	FreeSharedBytes uint64   `json:"free_shm_bytes"`
	OpenFiles       uint64   `json:"ulimit_files"`     // 0: no limit
	Processes       uint64   `json:"ulimit_processes"` // 0: no limit
	LockedBytes     uint64   `json:"ulimit_memlock"`   // 0: no limit
	MostRanks       int      `json:"most_ranks"`       // that gorun starts here
	GPUs            []string `json:"gpus"`
	Ports           string   `json:"ports"` // the system's range of free ports
	Loopback        bool     `json:"loopback"`
	Go              string   `json:"go"`  // version of the go command; "" if there is none
	Now             float64  `json:"now"` // Unix seconds
	Way             *Way     `json:"way,omitempty"`
	Problems        []string `json:"problems"`
}

// Way is how a machine reaches another one.
type Way struct {
	To        string `json:"to"`
	From      string `json:"from"` // this machine's address on it
	Interface string `json:"interface"`
	MTU       int    `json:"mtu"`
	Error     string `json:"error,omitempty"` // why nothing arrives there
}

// dialWithin bounds an attempt to reach another machine.
const dialWithin = 3 * time.Second

// WayTo tries to reach an address, given as host:port.
func WayTo(ctx context.Context, addr string) *Way {
	w := &Way{To: addr}
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	var err error
	if w.From, err = routeTo(addr); err == nil {
		w.Interface, w.MTU = interfaceOf(w.From)
		var c net.Conn
		if c, err = (&net.Dialer{}).DialContext(ctx, "tcp", addr); err == nil {
			_ = c.Close() // nothing was sent
		}
	}
	if err != nil {
		w.Error = err.Error()
	}
	return w
}

// interfaceOf is the interface with an address, and its MTU.
func interfaceOf(addr string) (name string, mtu int) {
	all, err := net.Interfaces()
	if err != nil {
		return "", 0
	}
	for _, i := range all {
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.String() == addr {
				return i.Name, i.MTU
			}
		}
	}
	return "", 0
}

const gpuBound = 5 * time.Second

// Examine finds out what this machine can do.
func Examine(ctx context.Context) Health {
	h := Health{
		OS: runtime.GOOS, Arch: runtime.GOARCH, Cores: runtime.NumCPU(), UsableCores: runtime.GOMAXPROCS(0),
		MemoryBytes: totalMemory(), FreeMemoryBytes: meminfo("MemAvailable"), GPUs: gpus(ctx), Problems: []string{},
		Now: float64(time.Now().UnixMicro()) / 1e6,
	}
	h.Host, _ = os.Hostname() // an empty name says as much
	h.limits()
	h.MostRanks = mostRanks(thisMachine())
	h.network()
	h.golang(ctx)
	if h.MostRanks < h.UsableCores {
		h.problem("only %d ranks fit on %d cores: ulimit -n, ulimit -u or the memory is too low", h.MostRanks, h.UsableCores)
	}
	if h.SharedBytes > 0 && h.FreeSharedBytes < 64<<20 {
		h.problem("/dev/shm has only %s free: ranks of one host can't share memory there", size(h.FreeSharedBytes))
	}
	return h
}

func (h *Health) problem(format string, args ...any) {
	h.Problems = append(h.Problems, fmt.Sprintf(format, args...))
}

// mostRanks is the largest -np that is not refused.
func mostRanks(m machine) int {
	lo, hi := 0, m.cores*ranksPerCore
	for lo < hi {
		mid := (lo + hi + 1) / 2
		if checkRanks(mid, false, m) == nil {
			lo = mid
		} else {
			hi = mid - 1
		}
	}
	return lo
}

func (h *Health) network() {
	if data, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		h.Ports = strings.Join(strings.Fields(string(data)), "-")
	}
	ln, err := net.Listen("tcp", net.JoinHostPort(DefaultBind, "0"))
	if err != nil {
		h.problem("no free port on %s: %v", DefaultBind, err)
		return
	}
	h.Loopback = true
	_ = ln.Close() // nothing was sent
}

func (h *Health) golang(ctx context.Context) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOVERSION").Output()
	if err != nil {
		h.problem("no go command in PATH: gorun can run programs, but not build them from source")
		return
	}
	h.Go = strings.TrimSpace(string(out))
}

// gpus names the GPUs, as nvidia-smi does or else the driver's files.
func gpus(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, gpuBound)
	defer cancel()
	found := []string{}
	if out, err := exec.CommandContext(ctx, "nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader").Output(); err == nil {
		for line := range strings.Lines(string(out)) {
			if line = strings.TrimSpace(line); line != "" {
				found = append(found, line)
			}
		}
		return found
	}
	files, _ := filepath.Glob("/proc/driver/nvidia/gpus/*/information") // the pattern is valid
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			if model, ok := strings.CutPrefix(line, "Model:"); ok {
				found = append(found, strings.TrimSpace(model))
			}
		}
	}
	return found
}

// Write shows the machine's health to people or machines.
func (h Health) Write(w io.Writer, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(h)
	}
	unlimited := func(n uint64, show func(uint64) string) string {
		if n == 0 {
			return "unlimited"
		}
		return show(n)
	}
	number := func(n uint64) string { return fmt.Sprint(n) }
	or := func(s, none string) string {
		if s == "" {
			return none
		}
		return s
	}
	rows := [][2]string{
		{"host", fmt.Sprintf("%s (%s/%s)", h.Host, h.OS, h.Arch)},
		{"cores", fmt.Sprintf("%d, %d usable", h.Cores, h.UsableCores)},
		{"memory", fmt.Sprintf("%s, %s free", size(h.MemoryBytes), size(h.FreeMemoryBytes))},
		{"shm", fmt.Sprintf("%s, %s free", size(h.SharedBytes), size(h.FreeSharedBytes))},
		{"ulimits", fmt.Sprintf("files %s, processes %s, locked memory %s", unlimited(h.OpenFiles, number), unlimited(h.Processes, number), unlimited(h.LockedBytes, size))},
		{"ranks", fmt.Sprintf("at most %d", h.MostRanks)},
		{"GPUs", or(strings.Join(h.GPUs, "; "), "none found")},
		{"ports", or(h.Ports, "unknown range")},
		{"go", or(h.Go, "none")},
	}
	for _, r := range rows {
		if _, err := fmt.Fprintf(w, "%-9s %s\n", r[0], r[1]); err != nil {
			return err
		}
	}
	for _, p := range h.Problems {
		if _, err := fmt.Fprintf(w, "problem:  %s\n", p); err != nil {
			return err
		}
	}
	if len(h.Problems) == 0 {
		_, err := fmt.Fprintln(w, "no problems found")
		return err
	}
	return nil
}

// size writes bytes as people say them.
func size(n uint64) string {
	switch {
	case n == 0:
		return "unknown"
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	default:
		return fmt.Sprintf("%d KiB", n>>10)
	}
}
