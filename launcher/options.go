package launcher

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/launcher/hosts"
)

// Options is what one job is asked to do.
type Options struct {
	Program string   // a .go file, a package or an executable
	Args    []string // for the program, untouched

	NP             int // ranks; 0 for one a core
	Oversubscribe  bool
	Spares         int           // more that wait to take the place of a dead rank
	MinNP          int           // ranks that the job goes on with; 0 for NP
	MaxNP          int           // ranks that it grows to; 0 for NP
	ElasticTimeout time.Duration // with fewer than MinNP, until it ends
	Restarts       int           // processes started anew, before the job fails
	RestartsSet    bool          // Restarts was asked for: it applies to gangs too
	Gang           bool          // the ranks never join
	Output         string        // folder for one file a rank
	Verdict        string        // file
	Metrics        string        // file
	Flight         string        // folder for what ranks did last before a failure; "" for that of State
	Checkpoint     control.Checkpointing
	Guards         control.Guards
	StartTimeout   time.Duration
	Stall          time.Duration // without a sign of life, until a rank is replaced; 0: never
	EvictSlow      float64       // a rank that works so many times as long as others is replaced; 0: never
	Grace          time.Duration
	Bind           string
	BindSet        bool         // Bind was asked for
	NICs           []string     // interfaces or subnets to use on every host; none for the way to the others
	Hosts          []hosts.Host // with the ranks that each takes; none for this host alone
	Spread         bool         // ranks over all hosts, where a few would hold them
	Reach          Reach        `json:"-"` // how agents on other hosts are started
	Files          []string     // that ranks on other hosts find in their folder
	Forward        []string     // variables that ranks on other hosts get too, NAME or NAME=VALUE
	Version        string       // of gorun, which all hosts must have in common
	Host           string       // how Hosts calls this one; "" for what it calls itself
	JobID          string       // a scheduler's, to be part of the job's name
	Transport      string       // how ranks of a host communicate, one of Transports; "" for auto
	Encrypt        bool         // what ranks send over TCP
	Deterministic  bool         // nothing follows from what communication was measured to cost
	Detach         bool         // the job is left to agents of its hosts
	Own            bool         // the program is gorun's own: it joins, and what it writes is shown as it is
	Quiet          bool

	Command        []string // as typed, for messages and gorun ps
	ProgramAt      int      // where Program is in Command
	Environ        []string `json:"-"` // that ranks inherit
	Runtime        string   // folder that gorun ps looks into
	State          string   // folder that gorun explain looks into; "" for none
	Stdout, Stderr *os.File `json:"-"`
}

// The defaults of options.
const (
	DefaultRestarts       = 3
	DefaultElasticTimeout = 2 * time.Minute
	DefaultStartTimeout   = 2 * time.Minute
	DefaultGrace          = 5 * time.Second
	DefaultStall          = 5 * time.Second
	DefaultBind           = "127.0.0.1"
	DefaultKeep           = 3
)

// leastStall is what a rank may be silent for without being taken for hung, on any machine.
const leastStall = 500 * time.Millisecond

// Transports are the values of Options.Transport.
func Transports() []string { return []string{"auto", "shm", "tcp"} }

// A Refusal is a job that was not started, or not built: what is wrong and what to do.
type Refusal struct {
	Status int
	Text   string
	Lines  []string // what another program said about it
}

// Error is the refusal as one line.
func (r *Refusal) Error() string { return r.Text }

// Usage is the refusal of a command line.
func Usage(text string) *Refusal { return &Refusal{Status: control.StatusUsage, Text: text} }

func refuse(format string, args ...any) *Refusal {
	return &Refusal{Status: control.StatusUsage, Text: fmt.Sprintf(format, args...)}
}

// ParseRanks reads the value of -np.
func ParseRanks(s string) (int, error) {
	n, err := strconv.Atoi(strings.TrimSpace(s))
	switch {
	case err != nil:
		return 0, refuse("-np %s: want a whole number of ranks, from 1", s)
	case n < 1:
		return 0, refuse("-np %d: want at least 1 rank", n)
	}
	return n, nil
}

// machine is what bounds the number of ranks.
type machine struct {
	cores     int
	memory    uint64 // bytes; 0 if unknown
	processes uint64 // that this user may still start; 0 for no limit
	files     uint64 // that this process may open; 0 for no limit
}

const (
	ranksPerCore  = 64       // more make no sense, and are likely to be a slip
	bytesPerRank  = 16 << 20 // the least that a rank takes
	threadsRank   = 8        // RLIMIT_NPROC counts threads
	filesPerRank  = 6        // two pipes, a process and a connection to the broker, and some
	filesReserved = 64
)

// checkRanks refuses more ranks than the machine can bear, saying what the limit is.
func checkRanks(np int, oversubscribe bool, m machine) error {
	type bound struct {
		ranks  uint64
		why    string
		remedy string
	}
	var bounds []bound
	if !oversubscribe {
		bounds = append(bounds, bound{uint64(m.cores * ranksPerCore), fmt.Sprintf("%d for each of its %s", ranksPerCore, plural(m.cores, "core")), ", or pass --oversubscribe"})
	}
	if m.processes > 0 {
		bounds = append(bounds, bound{m.processes / threadsRank, fmt.Sprintf("ulimit -u is %d and a rank has about %d threads", m.processes, threadsRank), ", or raise ulimit -u"})
	}
	if m.files > 0 {
		bounds = append(bounds, bound{(max(m.files, filesReserved) - filesReserved) / filesPerRank, fmt.Sprintf("ulimit -n is %d and a rank takes %d files", m.files, filesPerRank), ", or raise ulimit -n"})
	}
	if m.memory > 0 {
		bounds = append(bounds, bound{m.memory / bytesPerRank, fmt.Sprintf("%d MiB of memory, at least %d for a rank", m.memory>>20, bytesPerRank>>20), ""})
	}
	if len(bounds) == 0 {
		return nil
	}
	least := bounds[0]
	for _, b := range bounds[1:] {
		if b.ranks < least.ranks {
			least = b
		}
	}
	if uint64(np) <= least.ranks {
		return nil
	}
	return refuse("-np %d: this machine takes at most %d ranks (%s): lower -np%s", np, least.ranks, least.why, least.remedy)
}

// elastic says whether the number of ranks may follow from the slots that there are.
func (o *Options) elastic() bool { return o.MinNP > 0 || o.MaxNP > 0 }

// check refuses options that make no sense, before anything is started.
func (o *Options) check() error {
	switch {
	case o.Program == "":
		return refuse("no program given: gorun [flags] PROGRAM [ARGS...], for example gorun -np 4 train.go; gorun --help says more")
	case o.NP < 1 && len(o.Hosts) == 0:
		return refuse("-np %d: want at least 1 rank", o.NP)
	case o.Spares < 0:
		return refuse("--spares %d: want 0 or more", o.Spares)
	case o.Spares > 0 && o.Gang:
		return refuse("--spares and --gang: choose one: only a rank that calls worker.Run can take another's place")
	case o.MinNP < 0 || o.MaxNP < 0:
		return refuse("--min-np %d, --max-np %d: want at least 1 rank", o.MinNP, o.MaxNP)
	case o.NP > 0 && o.MinNP > o.NP:
		return refuse("--min-np %d: is more than -np %d", o.MinNP, o.NP)
	case o.MaxNP > 0 && o.MaxNP < max(o.NP, o.MinNP):
		return refuse("--max-np %d: is less than -np or --min-np, %d", o.MaxNP, max(o.NP, o.MinNP))
	case (o.MinNP > 0 || o.MaxNP > 0) && o.Gang:
		return refuse("--min-np or --max-np, and --gang: choose one: only ranks that call worker.Run can be fewer or more while they train")
	case o.ElasticTimeout < 0:
		return refuse("--elastic-timeout %v: want a duration such as 2m, or 0 not to wait", o.ElasticTimeout)
	case o.Restarts < 0:
		return refuse("--restarts %d: want 0 or more", o.Restarts)
	case o.StartTimeout <= 0:
		return refuse("--start-timeout %v: want a duration above 0, such as 2m", o.StartTimeout)
	case o.Stall < 0 || o.Stall > 0 && o.Stall < leastStall:
		return refuse("--stall %v: want %v at least, or 0 for never", o.Stall, leastStall)
	case o.EvictSlow != 0 && !(o.EvictSlow >= leastEvict && o.EvictSlow <= mostEvict):
		return refuse("--evict-slow %v: want a factor from %v to %v, or 0 for never", o.EvictSlow, leastEvict, mostEvict)
	case o.EvictSlow != 0 && o.Gang:
		return refuse("--evict-slow and --gang: choose one: only ranks that call worker.Run tell how long a step takes them")
	case o.Grace <= 0:
		return refuse("--grace %v: want a duration above 0, such as 5s", o.Grace)
	case o.Checkpoint.Every < 0:
		return refuse("--checkpoint-every %d: want a number of steps, or 0 for only at the end", o.Checkpoint.Every)
	case o.Checkpoint.Keep < 1:
		return refuse("--checkpoint-keep %d: want at least 1", o.Checkpoint.Keep)
	case o.Checkpoint.Dir == "" && o.Checkpoint.Resume:
		return refuse("--resume: from where? name the folder with --checkpoint DIR")
	case o.Checkpoint.Dir == "" && o.Checkpoint.Every > 0:
		return refuse("--checkpoint-every %d: where to? name the folder with --checkpoint DIR", o.Checkpoint.Every)
	case o.Guards.OnNaN != "" && !slices.Contains(control.OnNaNs(), o.Guards.OnNaN):
		return refuse("--on-nan %s: want one of %s", o.Guards.OnNaN, strings.Join(control.OnNaNs(), ", "))
	case o.Guards.OnNaN == control.OnNaNRestore && o.Checkpoint.Dir == "":
		return refuse("--on-nan restore: from where? name the folder with --checkpoint DIR")
	case o.Gang && o.Guards.OnNaN != "" && o.Guards.OnNaN != control.OnNaNStop:
		return refuse("--on-nan and --gang: choose one: gorun sees no values of a program that does not call worker.Run")
	case o.Guards.VerifyEvery < 0:
		return refuse("--verify-every %d: want a number of steps, or 0 for never", o.Guards.VerifyEvery)
	case o.Transport != "" && !slices.Contains(Transports(), o.Transport):
		return refuse("--transport %s: want one of %s", o.Transport, strings.Join(Transports(), ", "))
	case o.Detach && o.Output != "":
		return refuse("--output and --detach: choose one: gorun logs shows what the ranks of a detached job write")
	case o.Detach && (o.Metrics != "" && !filepath.IsAbs(o.Metrics) || o.Verdict != "" && !filepath.IsAbs(o.Verdict)):
		return refuse("--metrics and --verdict of a detached job are written on one of its hosts: give absolute paths, on a file system that they share")
	case o.Encrypt && o.Gang:
		return refuse("--encrypt with --gang: such ranks bring connections of their own, which gorun can't encrypt: leave out --encrypt (or GORUN_ENCRYPT)")
	case net.ParseIP(o.Bind) == nil:
		return refuse("--bind %s: want an IP address of this machine, such as 127.0.0.1", o.Bind)
	}
	if len(o.NICs) > 0 && o.BindSet {
		return refuse("--bind and --nic: choose one of them")
	}
	if err := checkNICs(o.NICs); err != nil {
		return err
	}
	for _, f := range []struct{ flag, path string }{{"--output", o.Output}, {"--checkpoint", o.Checkpoint.Dir}, {"--flight", o.Flight}} {
		if info, err := os.Stat(f.path); f.path != "" && err == nil && !info.IsDir() {
			return refuse("%s %s: is a file, want a folder", f.flag, f.path)
		}
	}
	for _, f := range []struct{ flag, path string }{{"--verdict", o.Verdict}, {"--metrics", o.Metrics}} {
		if info, err := os.Stat(f.path); f.path != "" && err == nil && info.IsDir() {
			return refuse("%s %s: is a folder, want a file", f.flag, f.path)
		}
	}
	if len(o.Hosts) > 0 {
		return nil // they say what they take
	}
	return checkRanks(o.NP+o.Spares, o.Oversubscribe, thisMachine())
}

// Inherit takes from the environment how ranks communicate, where no flag says so.
func (o *Options) Inherit(lookup func(string) (string, bool)) error {
	if t, _ := lookup("GORUN_TRANSPORT"); o.Transport == "" && t != "" {
		if !slices.Contains(Transports(), t) {
			return refuse("GORUN_TRANSPORT=%s: want one of %s", t, strings.Join(Transports(), ", "))
		}
		o.Transport = t
	}
	for _, v := range []struct {
		name string
		on   *bool
	}{{"GORUN_DETERMINISTIC", &o.Deterministic}, {"GORUN_ENCRYPT", &o.Encrypt}} {
		text, _ := lookup(v.name)
		if text == "" {
			continue
		}
		on, err := strconv.ParseBool(text)
		if err != nil {
			return refuse("%s=%s: want true or false", v.name, text)
		}
		*v.on = *v.on || on
	}
	return nil
}

// resume is the command that goes on from the newest checkpoint.
func (o *Options) resume() string {
	words := append([]string{"gorun"}, o.Command[:o.ProgramAt]...)
	if !o.Checkpoint.Resume {
		words = append(words, "--resume")
	}
	return quote(append(words, o.Command[o.ProgramAt:]...))
}

// quote writes words so that a shell reads the same.
func quote(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		safe := w != "" && !strings.ContainsFunc(w, func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_=./:,@%+", r))
		})
		if !safe {
			w = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		quoted[i] = w
	}
	return strings.Join(quoted, " ")
}
