package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// shown says which test shows what docs/faults.md promises: a file, and words in it that lead
// to the place.
var shown = []struct{ fault, file, words string }{
	{"a rank is killed", "launcher/gorun/testdata/script/stop.txtar", "A rank is killed from outside at any step: nothing is lost."},
	{"a rank panics or exits with a status", "launcher/gorun/testdata/script/train.txtar", "So it is when one panics or exits."},
	{"a rank fails at the same step again", "launcher/gorun/testdata/script/causes.txtar", "It fails at the same step each time"},
	{"a rank is killed for memory", "launcher/gorun/testdata/script/causes.txtar", "Killed for memory by the kernel"},
	{"a rank ends with 0 before all have finished", "launcher/gorun/testdata/script/joined.txtar", "Status 0 is no success without a finish."},
	{"a rank never calls `worker.Run`", "launcher/gorun/testdata/script/joined.txtar", "Not all call worker.Run in time."},
	{"ranks disagree on a shape, a type or the order of calls", "launcher/gorun/testdata/script/train.txtar", "One rank has another shape"},
	{"a loss or gradient is not finite", "launcher/gorun/testdata/script/train.txtar", "A gradient that is not a number is never applied."},
	{"a rank that was replaced wakes up", "launcher/gorun/testdata/script/fenced.txtar", "the rank ends by itself, and writes nothing"},
	{"a rank is slower than the others", "launcher/gorun/testdata/script/slow.txtar", "A rank that works much longer than the others"},
	{"a rank stops, or gives no sign of life", "launcher/gorun/testdata/script/stall.txtar", "A rank that is stopped gives no sign of life"},
	{"a rank hangs in its own code, or writing a file", "launcher/gorun/testdata/script/stall.txtar", "One that hangs in its own code says where."},
	{"a rank dies while the newest state is on its way to others", "worker/sync_test.go", "func TestHalfAStateIsWorthNothing"},
	{"ranks leave processes behind", "launcher/gorun/testdata/script/gang.txtar", "What a rank leaves behind goes with it."},
	{"ranks write without end or without newlines", "launcher/output_test.go", "func TestASlowTerminalDoesNotBlockRanks"},
	{"Ctrl-C", "launcher/gorun/testdata/script/stop.txtar", "Ctrl-C: all ranks save after the same step"},
	{"Ctrl-C a second time", "launcher/gorun/testdata/script/stop.txtar", "A second signal doesn't wait for ranks that don't obey."},
	{"SIGTERM, or a closed terminal", "launcher/gorun/testdata/script/stop.txtar", "SIGTERM, as schedulers send it"},
	{"gorun is killed", "launcher/gorun/testdata/script/hosts.txtar", "Killing gorun leaves nothing anywhere."},
	{"a host dies or is cut off", "scripts/clusters", "ssh: a host is cut off in mid-run"},
	{"a host is cut off and heals", "scripts/clusters", "also on h3, which is still cut off"},
	{"an elastic job loses a host", "scripts/clusters", "agents: an elastic job loses a host, which comes back"},
	{"a host joins, or is back", "launcher/job_elastic_test.go", "func TestAJobGrowsOntoNewHosts"},
	{"a host comes and goes", "launcher/job_elastic_test.go", "func TestAFlappingHostCoolsDown"},
	{"an elastic job has slots for fewer than `--min-np`", "launcher/job_elastic_test.go", "func TestAJobThatFindsNoHostsSavesAndEnds"},
	{"a host is to be left (`gorun drain HOST`)", "scripts/clusters", "agents: ranks leave a host, which is drained"},
	{"an agent is stopped by SIGTERM, as where a machine is preempted", "launcher/job_elastic_test.go", "func TestAHostThatIsAboutToGoIsLeft"},
	{"half of the hosts are cut off from the other half", "internal/replica/group_test.go", "func TestLeaderIsCutOff"},
	{"an ssh connection dies", "launcher/reach/reach_test.go", "func TestKilledSSHEndsTheAgent"},
	{"gorun is killed, or logs out, after `--detach`", "launcher/gorun/testdata/script/left.txtar", "A job that was left to keepers is followed and stopped"},
	{"a keeper of a detached job dies", "launcher/gorun/testdata/script/detach.txtar", "Two keepers are killed"},
	{"the broker restarts", "internal/control/client_test.go", "func TestClientSurvivesARestartOfTheBroker"},
	{"connections break and all processes live", "worker/run_test.go", "func TestBrokenConnectionsAreMadeAnew"},
	{"two hosts don't reach each other, everybody else reaches both", "launcher/job_links_test.go", "func TestAHostIsLeftForABrokenLink"},
	{"a peer acknowledges nothing", "scripts/clusters", "want less than 4 s"},
	{"bytes change on the way between hosts", "collective/transport/faulty/faulty_test.go", "func flipped"},
	{"clocks differ or jump", "launcher/clock_test.go", "func TestALaunchWarnsOfWrongClocks"},
	{"no host can be used", "scripts/clusters", "ssh: a host that can't be reached"},
	{"a bad host list", "launcher/hosts/file_test.go", "func TestParseFileRefuses"},
	{"more ranks than slots", "launcher/gorun/testdata/script/hosts.txtar", "need 9 slots, have 8"},
	{"a port is taken", "launcher/cluster/daemon_test.go", "func TestPortsThatAreTakenAreNamed"},
	{"two hosts have one name", "launcher/gorun/testdata/script/agent.txtar", "A second one of a name is told so"},
	{"hosts have different versions of gorun", "launcher/gorun/testdata/script/hosts.txtar", "An agent of another version"},
	{"a stranger connects to a port of the job", "launcher/gorun/testdata/script/siege.txtar", "Strangers attack every port of a job while it trains"},
	{"handshakes are recorded and played again, or come from another job", "collective/transport/tcp/security_test.go", "func TestReplay"},
	{"frames have lengths without end, or come a byte at a time", "collective/transport/tcp/flood_test.go", "func TestSlowLoris"},
	{"a thousand connections at once", "collective/transport/tcp/flood_test.go", "func TestFlood"},
	{"the disk is full", "launcher/gorun/testdata/script/disk.txtar", "A full disk."},
	{"the process or the power ends while one is written", "worker/checkpoint/write_test.go", "func TestPowerCutAnywhere"},
	{"a file was cut off or bits have changed", "worker/checkpoint/damage_test.go", "func TestFlippedBits"},
	{"a checkpoint is another model's", "launcher/gorun/testdata/script/train.txtar", "A checkpoint of another model."},
	{"a checkpoint was written by a newer gorun", "worker/checkpoint/damage_test.go", "func TestNewerFormatEndsTheSearch"},
	{"the disk hangs", "worker/checkpoint/saver_test.go", "func TestHangingDisk"},
}

// TestFaultsAreShown keeps docs/faults.md and the tests together: a row without a test, or a
// test that is gone, is named.
func TestFaultsAreShown(t *testing.T) {
	root := filepath.Join("..", "..")
	page, err := os.ReadFile(filepath.Join(root, "docs", "faults.md"))
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, " | ")
		if first, ok := strings.CutPrefix(cells[0], "| "); ok && len(cells) == 4 && first != "what goes wrong" {
			rows = append(rows, first)
		}
	}
	for _, s := range shown {
		i := slices.Index(rows, s.fault)
		if i < 0 {
			t.Errorf("docs/faults.md has no row %q", s.fault)
			continue
		}
		rows = slices.Delete(rows, i, i+1)
		text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(s.file)))
		if err != nil {
			t.Errorf("%s: %v", s.fault, err)
		} else if !strings.Contains(string(text), s.words) {
			t.Errorf("%s: %s has no %q", s.fault, s.file, s.words)
		}
	}
	for _, fault := range rows {
		t.Errorf("docs/faults.md: %q has no test in the table here", fault)
	}
}
