package arrows

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// layout says what each folder may import of this module. A rule holds for everything
// below its folder that has no rule of its own; a folder may import what is under the same
// rule. Test files may also import whatever those folders in turn may.
var layout = rules{
	"topology":             {},
	"kernels":              {},
	"collective/transport": {"internal/pinned", "internal/wiretap"},
	"collective":           {"topology", "kernels", "collective/transport"},
	"internal/rendezvous":  {},
	"internal/gate":        {},
	"internal/stranger":    {},
	"internal/control":     {"internal/rendezvous", "internal/pinned", "internal/wiretap", "internal/gate"},
	"internal/arrows":      {},
	"internal/pinned":      {"internal/gate"},
	"internal/replica":     {"internal/pinned"},
	"internal/wiretap":     {},
	"worker/idx":           {},
	"worker/checkpoint":    {"kernels"},
	"worker":               {"collective", "collective/transport", "internal/rendezvous", "internal/control", "kernels", "topology", "worker/checkpoint", "worker/probe"},
	"worker/probe":         {"collective/transport", "kernels", "topology"},
	"worker/graph":         {"worker", "kernels"},
	"launcher/hosts":       {},
	"launcher/membership":  {"internal/rendezvous"},
	"launcher/reach":       {},
	"launcher/private":     {},
	"launcher/joblist":     {"launcher/private"},
	"launcher/cluster":     {"internal/rendezvous", "internal/control", "internal/pinned", "internal/gate", "launcher/joblist", "launcher/membership", "launcher/private"},
	"launcher":             {"internal/rendezvous", "internal/control", "internal/pinned", "internal/replica", "topology", "launcher/hosts", "launcher/joblist", "launcher/membership"},
	// gorun is its own benchmark, so that whoever has it can measure: it starts itself anew
	// for the ranks, which alone use the worker.
	"launcher/gorun":             {"launcher", "internal/control", "launcher/cluster", "launcher/hosts", "launcher/reach", "topology", "worker", "benchmarks/allreduce/bench"},
	"examples":                   {"worker", "worker/graph", "worker/idx", "worker/checkpoint"},
	"benchmarks/allreduce/bench": {"worker", "collective", "collective/transport", "kernels", "topology"},
	"benchmarks":                 {"benchmarks/allreduce/bench", "worker", "collective", "collective/transport", "kernels", "topology"},
}

// forTests are folders that tests of any folder may import, and nothing else.
var forTests = []string{"internal/stranger"}

// outside says who may import modules that would otherwise spread.
var outside = rules{
	"gorgonia.org/":                   {"worker/graph", "examples"},
	"github.com/nats-io/":             {"internal/control", "launcher"},
	"github.com/hashicorp/memberlist": {"launcher/membership"},
	"github.com/hashicorp/raft":       {"internal/replica"},
	"github.com/spf13/":               {"launcher/gorun"},
	"github.com/mmcloughlin/avo/":     {"kernels"},
}

// entries are the files outside of main packages that may read the environment and end the
// process.
var entries = []string{"worker/main.go"}

// TestLayout reads every Go file of the module, whatever it is built for.
func TestLayout(t *testing.T) {
	root := moduleRoot(t)
	c := checker{module: "github.com/gorun-ml/gorun", layout: layout, forTests: forTests, outside: outside, entries: entries}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "bin" || name == "out") {
			return fs.SkipDir
		}
		if d.IsDir() || filepath.Ext(name) != ".go" {
			return nil
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		return c.add(filepath.ToSlash(rel), source)
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.files < 20 {
		t.Errorf("only %d files found under %s", c.files, root)
	}
	for _, complaint := range c.end() {
		t.Error(complaint)
	}
}

// moduleRoot is the folder of go.mod, which must not send anyone to a folder of its author.
func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil {
			for _, path := range localReplacements(string(mod)) {
				t.Errorf("go.mod replaces a module by the folder %s: require a version", path)
			}
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above this test")
		}
		dir = filepath.Dir(dir)
	}
}
