package launcher

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
)

func TestDiscoverIsBounded(t *testing.T) {
	script := t.TempDir() + "/find.sh"
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho h1\necho asking >&2\nexec sleep 60\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := discover(script, nil, 500*time.Millisecond)
	var r *Refusal
	if !errors.As(err, &r) || r.Status != control.StatusNoHost || !strings.Contains(r.Text, "had not ended after 500ms and was killed") {
		t.Errorf("a script that doesn't end: %+v (%v)", r, err)
	}
}
