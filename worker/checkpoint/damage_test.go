package checkpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// altered runs check on a folder with a good step 110 and a step 120 of which one file has
// been changed, once for each change.
func altered(t *testing.T, changes func(raw []byte, change func(what string, raw []byte))) {
	dir := t.TempDir()
	mustWrite(t, dir, 110)
	path := mustWrite(t, dir, 120)
	for _, name := range []string{modelName, manifestName} {
		file := filepath.Join(path, name)
		good, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		changes(good, func(what string, raw []byte) {
			if err := os.WriteFile(file, raw, 0o600); err != nil {
				t.Fatal(err)
			}
			step, skipped := wantLatest(t, dir, 110, 120)
			if step != 110 || len(skipped) != 1 {
				t.Fatalf("%s of %s: got step %d, skipped %v", what, name, step, skipped)
			}
			text := skipped[0].Error()
			if !errors.Is(skipped[0], ErrDamaged) || !strings.HasPrefix(text, "step-000000120: "+name+": ") || strings.Contains(text, "\n") {
				t.Fatalf("%s of %s: skipped because %q", what, name, text)
			}
		})
		if err := os.WriteFile(file, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	wantLatest(t, dir, 120)
}

func TestFlippedBits(t *testing.T) {
	altered(t, func(raw []byte, change func(string, []byte)) {
		for i := range raw {
			bad := bytes.Clone(raw)
			bad[i] ^= 1 << (i % 8)
			change("a flipped bit", bad)
		}
	})
}

func TestWrongLengths(t *testing.T) {
	altered(t, func(raw []byte, change func(string, []byte)) {
		for n := range raw {
			change("a truncation", raw[:n])
		}
		change("a trailing byte", append(bytes.Clone(raw), 0))
		change("a repetition", append(bytes.Clone(raw), raw...))
		change("zeros", make([]byte, len(raw)))
	})
}

func TestMissingFiles(t *testing.T) {
	for _, name := range []string{modelName, manifestName} {
		dir := t.TempDir()
		mustWrite(t, dir, 110)
		if err := os.Remove(filepath.Join(mustWrite(t, dir, 120), name)); err != nil {
			t.Fatal(err)
		}
		_, skipped := wantLatest(t, dir, 110)
		if len(skipped) != 1 || skipped[0].Error() != "step-000000120: "+name+" is missing: altered or torn" {
			t.Errorf("skipped %v", skipped)
		}
	}
}

func TestAllDamaged(t *testing.T) {
	dir := t.TempDir()
	for _, step := range []int{110, 120} {
		if err := os.Truncate(filepath.Join(mustWrite(t, dir, step), modelName), 100); err != nil {
			t.Fatal(err)
		}
	}
	_, _, _, skipped, err := Latest(dir)
	if len(skipped) != 2 || !errors.Is(err, ErrDamaged) || errors.Is(err, ErrNone) {
		t.Errorf("skipped %v, err %v", skipped, err)
	}
	if want := dir + ": none of 2 checkpoints can be used: step-000000120: model.safetensors: 100 bytes, the manifest says "; !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v, want %s…", err, want)
	}
}

// A folder under the name of another step is not that step.
func TestRenamedFolder(t *testing.T) {
	dir := t.TempDir()
	mustWrite(t, dir, 110)
	if err := os.Rename(mustWrite(t, dir, 120), filepath.Join(dir, "step-000000900")); err != nil {
		t.Fatal(err)
	}
	_, skipped := wantLatest(t, dir, 110)
	if len(skipped) != 1 || !errors.Is(skipped[0], ErrDamaged) {
		t.Errorf("skipped %v", skipped)
	}
}

// rewrite changes a checkpoint's manifest and seals it anew, as another gorun would.
func rewrite(t *testing.T, path string, change func(fields map[string]any)) {
	t.Helper()
	file := filepath.Join(path, manifestName)
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(raw, &fields); err != nil {
		t.Fatal(err)
	}
	delete(fields, "sha256")
	change(fields)
	text, err := json.MarshalIndent(fields, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	body := bytes.TrimSuffix(text, []byte("\n}"))
	if err := os.WriteFile(file, append(body, seal(body)...), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestNewerFormatEndsTheSearch(t *testing.T) {
	dir := t.TempDir()
	mustWrite(t, dir, 110)
	rewrite(t, mustWrite(t, dir, 120), func(f map[string]any) {
		f["format"] = 3
		f["shards"] = []string{"what only the future knows"}
	})
	_, _, _, _, err := Latest(dir)
	want := dir + ": step-000000120: manifest.json: format 3, this gorun reads 1: written by a newer gorun"
	if !errors.Is(err, ErrNewer) || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// Who edits the number by hand reads both reasons, and an older checkpoint is used.
func TestEditedFormat(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(mustWrite(t, dir, 120), manifestName)
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, bytes.Replace(raw, []byte(`"format": 1`), []byte(`"format": 2`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, _, _, err := Latest(dir); !errors.Is(err, ErrNewer) || !errors.Is(err, ErrDamaged) {
		t.Errorf("%v, want both reasons", err)
	}
	mustWrite(t, dir, 110)
	wantLatest(t, dir, 110)
}

func TestSealedNonsense(t *testing.T) {
	for what, change := range map[string]func(f map[string]any){
		"no files":       func(f map[string]any) { delete(f, "files") },
		"another file":   func(f map[string]any) { f["files"].([]any)[0].(map[string]any)["name"] = "../../etc/passwd" },
		"negative size":  func(f map[string]any) { f["files"].([]any)[0].(map[string]any)["bytes"] = -1 },
		"negative step":  func(f map[string]any) { f["step"] = -3 },
		"format 0":       func(f map[string]any) { f["format"] = 0 },
		"unknown member": func(f map[string]any) { f["surprise"] = 1 },
	} {
		path := mustWrite(t, t.TempDir(), 120)
		rewrite(t, path, change)
		if _, _, err := Read(path); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v, want ErrDamaged", what, err)
		}
	}
}
