package arrows

import (
	"slices"
	"testing"
)

// Each complaint is made where it must be, and nowhere else.
func TestComplaints(t *testing.T) {
	c := checker{
		module:  "m",
		layout:  rules{"low": nil, "low/own": {"low"}, "mid": {"low"}, "top": {"mid"}},
		outside: rules{"big.org/": {"mid"}},
		entries: []string{"mid/entry.go"},
	}
	for name, source := range map[string]string{
		"low/a.go":        "// Package low is low.\npackage low\n\nimport (\n\t\"os\"\n\t\"m/mid\"\n)\n",
		"low/a_test.go":   "package low\n\nimport \"m/mid\"\n",
		"low/sub/a.go":    "// Package sub is sub.\npackage sub\n\nimport \"m/low\"\n",
		"low/own/a.go":    "// Package own is own.\npackage own\n\nimport \"m/low/sub\"\n",
		"mid/a.go":        "package mid\n\nimport (\n\t\"m/top\"\n\t\"m/low/own\"\n)\n",
		"mid/entry.go":    "package mid\n\nimport \"os\"\n\nfunc f() { os.Exit(len(os.Getenv(\"X\"))) }\n",
		"mid/big.go":      "package mid\n\nimport \"big.org/v2\"\n",
		"top/big.go":      "// Package top is top.\npackage top\n\nimport \"big.org/v2\"\n",
		"top/a.go":        "package top\n\nimport \"m/low\"\n",
		"top/a_test.go":   "package top\n\nimport (\n\t\"m/low\"\n\t\"os\"\n)\n\nfunc f() { os.Exit(1) }\n",
		"top/exit.go":     "package top\n\nimport (\n\tsys \"os\"\n\t\"log\"\n)\n\nfunc f() {\n\tsys.Exit(1)\n\tlog.Fatal()\n\tlog.Print(sys.Getenv)\n}\n",
		"top/cmd/main.go": "// Command cmd ends.\npackage main\n\nimport \"os\"\n\nfunc main() { os.Exit(1) }\n",
		"top/init.go":     "package top\n\ntype t int\n\nfunc (t) init() {}\nfunc init() {}\n",
		"top/sleep.go":    "package top\n\nimport \"time\"\n\nvar f = time.Sleep\n",
		"top/fine.go":     "package top\n\nvar time, os s\n\nfunc g() { time.Sleep(); os.Exit() }\n",
		"top/place.go":    "package top\n\nimport (\n\t. \"strings\"\n\t\"../x\"\n)\n\nvar a, b = \"/home/ann/x\", \"/homely\"\n",
		"new/a.go":        "// Package new has no rule.\npackage new\n\nimport \"m/low\"\n",
		"top/new.go":      "package top\n\nimport \"m/new\"\n",
	} {
		if err := c.add(name, []byte(source)); err != nil {
			t.Error(err)
		}
	}
	want := []string{
		"low/a.go:6: low imports mid: low imports nothing of this module",
		"low/a_test.go:3: low imports mid: low imports nothing of this module",
		"mid/a.go:4: mid imports top: mid may import low",
		"mid/a.go:5: mid imports low/own: mid may import low",
		"mid: the package has no comment that says its one idea",
		"new/a.go:4: new imports low, but has no rule: give it one in the table of internal/arrows",
		"top/a.go:3: top imports low: top may import mid",
		"top/big.go:4: top imports big.org/v2: only mid may",
		"top/exit.go:10: log.Fatal: only main packages and mid/entry.go may; take the value as an argument or return an error",
		"top/exit.go:11: os.Getenv: only main packages and mid/entry.go may; take the value as an argument or return an error",
		"top/exit.go:9: os.Exit: only main packages and mid/entry.go may; take the value as an argument or return an error",
		"top/init.go:6: an init function: do it where it is needed, or in main",
		"top/new.go:3: new has no rule: give it one in the table of internal/arrows",
		"top/place.go:4: strings is imported as \".\": give it a name",
		"top/place.go:5: import of the folder ../x: use its path in a module",
		"top/place.go:8: \"/home/ann/x\" is a folder of one machine",
		"top/sleep.go:5: time.Sleep: wait for what is to happen, on a channel or a timer that ends with its context",
	}
	if got := c.end(); !slices.Equal(got, want) {
		for _, g := range got {
			if !slices.Contains(want, g) {
				t.Errorf("unexpected: %s", g)
			}
		}
		for _, w := range want {
			if !slices.Contains(got, w) {
				t.Errorf("missing:    %s", w)
			}
		}
	}
}

func TestLocalReplacements(t *testing.T) {
	got := localReplacements("replace a => ../a\nreplace (\n\tb v1 => /src/b // why\n\tc => example.org/c v1.2.3\n)\n")
	if want := []string{"../a", "/src/b"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
