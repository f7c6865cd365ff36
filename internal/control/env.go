package control

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// SecretBytes is the size of a job's secret.
const SecretBytes = 32

// Env is what a worker is told in its environment. The secret is not part of it: it comes
// through the inherited descriptor SecretFD.
type Env struct {
	Job        string // job's ID
	Broker     string // host:port of the control plane
	Member     string // this process's member ID
	Host       string // this host's name
	Slot       int
	Bind       string // address that the data plane listens on
	SecretFD   int
	Stall      time.Duration // without a sign of life, until a rank is taken for hung; 0: never
	Patience   time.Duration // for which the job may wait for hosts, beyond what it needs to replace ranks
	Checkpoint Checkpointing
	Guards     Guards
	Flight     string // folder for the last operations of ranks whose generation fails; "" for none

	// For programs that don't know gorun.
	Rank, LocalRank, WorldSize, LocalWorldSize int
	CrossRank, CrossSize                       int // number of this host, and hosts; 0 stands for 1
	MasterAddr                                 string
	MasterPort                                 int
}

// Checkpointing is where and how often to save.
type Checkpointing struct {
	Dir    string // "" for none
	Every  int    // steps; 0 for only at the end or on request
	Keep   int    // how many to retain
	Resume bool
}

// Environ renders e as NAME=VALUE pairs, with the twins that torch.distributed and Horovod
// programs look for.
func (e Env) Environ() []string {
	n := strconv.Itoa
	env := []string{
		"GORUN_JOB=" + e.Job, "GORUN_BROKER=" + e.Broker, "GORUN_MEMBER=" + e.Member,
		"GORUN_HOST=" + e.Host, "GORUN_SLOT=" + n(e.Slot), "GORUN_BIND=" + e.Bind,
		"GORUN_SECRET_FD=" + n(e.SecretFD), "GORUN_STALL=" + e.Stall.String(), "GORUN_PATIENCE=" + e.Patience.String(),
		"GORUN_CHECKPOINT_DIR=" + e.Checkpoint.Dir, "GORUN_CHECKPOINT_EVERY=" + n(e.Checkpoint.Every),
		"GORUN_CHECKPOINT_KEEP=" + n(e.Checkpoint.Keep), "GORUN_RESUME=" + strconv.FormatBool(e.Checkpoint.Resume),
		"GORUN_FLIGHT=" + e.Flight,
		"RANK=" + n(e.Rank), "LOCAL_RANK=" + n(e.LocalRank), "WORLD_SIZE=" + n(e.WorldSize),
		"LOCAL_WORLD_SIZE=" + n(e.LocalWorldSize),
		"MASTER_ADDR=" + e.MasterAddr, "MASTER_PORT=" + n(e.MasterPort),
		"HOROVOD_RANK=" + n(e.Rank), "HOROVOD_SIZE=" + n(e.WorldSize),
		"HOROVOD_LOCAL_RANK=" + n(e.LocalRank), "HOROVOD_LOCAL_SIZE=" + n(e.LocalWorldSize),
		"HOROVOD_CROSS_RANK=" + n(e.CrossRank), "HOROVOD_CROSS_SIZE=" + n(max(e.CrossSize, 1)),
	}
	return append(env, e.Guards.environ()...)
}

// ParseEnv reads what Environ wrote. ok is false where gorun did not start this process.
func ParseEnv(lookup func(string) (string, bool)) (e Env, ok bool, err error) {
	e.Job, ok = lookup("GORUN_JOB")
	if !ok {
		return Env{}, false, nil
	}
	text := func(name string) string { v, _ := lookup(name); return v }
	number := func(name string) int {
		v := text(name)
		n, bad := strconv.Atoi(v)
		if bad != nil && err == nil {
			err = fmt.Errorf("%s=%q is not a number: start the program with gorun", name, v)
		}
		return n
	}
	duration := func(name string) time.Duration {
		v := text(name)
		d, bad := time.ParseDuration(cmp.Or(v, "0"))
		if bad != nil && err == nil {
			err = fmt.Errorf("%s=%q is not a duration: start the program with gorun", name, v)
		}
		return d
	}
	e.Broker, e.Member, e.Host, e.Bind = text("GORUN_BROKER"), text("GORUN_MEMBER"), text("GORUN_HOST"), text("GORUN_BIND")
	e.Flight = text("GORUN_FLIGHT")
	e.Slot, e.SecretFD = number("GORUN_SLOT"), number("GORUN_SECRET_FD")
	e.Stall, e.Patience = duration("GORUN_STALL"), duration("GORUN_PATIENCE")
	e.Checkpoint = Checkpointing{
		Dir: text("GORUN_CHECKPOINT_DIR"), Every: number("GORUN_CHECKPOINT_EVERY"),
		Keep: number("GORUN_CHECKPOINT_KEEP"), Resume: strings.EqualFold(text("GORUN_RESUME"), "true"),
	}
	guards, bad := ParseGuards(lookup)
	if e.Guards = guards; err == nil {
		err = bad
	}
	e.Rank, e.LocalRank, e.WorldSize, e.LocalWorldSize = number("RANK"), number("LOCAL_RANK"), number("WORLD_SIZE"), number("LOCAL_WORLD_SIZE")
	e.MasterAddr, e.MasterPort = text("MASTER_ADDR"), number("MASTER_PORT")
	return e, true, err
}
