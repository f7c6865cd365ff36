package checkpoint

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
)

var victimDir = flag.String("victim-dir", "", "folder in which TestVictim writes until it is killed")

// TestVictim is the process that TestKilledProcess kills; by itself it does nothing.
func TestVictim(t *testing.T) {
	if *victimDir == "" {
		return
	}
	first := 1
	if m, _, _, _, err := Latest(*victimDir); err == nil {
		first = m.Step + 1
	}
	for step := first; ; step++ {
		if _, err := Write(context.Background(), *victimDir, meta(step), sample(step)); err != nil {
			t.Fatal(err)
		}
		fmt.Println(step)
		if err := Retain(*victimDir, 2); err != nil {
			t.Fatal(err)
		}
	}
}

// A real process under a real SIGKILL: what it said was durable is found, and what it
// left is swept.
func TestKilledProcess(t *testing.T) {
	dir := t.TempDir()
	for round := range 8 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestVictim$", "-victim-dir="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		said := 0
		for range 3 + 2*round {
			if !lines.Scan() {
				t.Fatal("the writer ended by itself")
			}
			if said, err = strconv.Atoi(lines.Text()); err != nil {
				t.Fatal(err)
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() { // what it still said
			if said, err = strconv.Atoi(lines.Text()); err != nil {
				break // cut off
			}
		}
		cmd.Wait()
		if _, skipped := wantLatest(t, dir, said, said+1); len(skipped) > 0 {
			t.Errorf("round %d: skipped %v", round, skipped)
		}
		for _, name := range listing(t, dir) {
			if _, ok := parseName(name[:min(len(name), len(stepName(0)))]); !ok {
				t.Errorf("round %d: left behind %s", round, name)
			}
		}
	}
}
