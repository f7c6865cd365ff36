package launcher

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// binary is what ranks execute.
type binary struct {
	path   string
	source bool   // built from Go source
	name   string // what was built, for people
	took   time.Duration
}

// target is what PROGRAM names, before anything is built.
type target struct {
	executable string // path, if it is one
	pkg        string // else what go build is given
	dir        string // where go build runs; "" for here
	name       string // for people
}

// resolve says what PROGRAM names: a .go file, an executable, or a package, in this order.
func resolve(ctx context.Context, program string) (target, error) {
	info, err := os.Stat(program)
	switch {
	case strings.HasSuffix(program, ".go"):
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return target{}, refuse("%s: no such file", program)
		case err != nil:
			return target{}, refuse("%s: %v", program, reason(err))
		case info.IsDir():
			return target{}, refuse("%s: is a folder, want a .go file", program)
		}
		t := target{pkg: program, name: filepath.Dir(program)}
		if t.name == "." {
			t.name = program
		}
		return inItsModule(t, filepath.Dir(program))
	case !strings.ContainsRune(program, filepath.Separator) && program != "." && program != "..":
		path, bad := exec.LookPath(program)
		if bad == nil {
			return target{executable: path}, nil
		}
		if err == nil && info.IsDir() {
			return folder(program)
		}
		if err == nil {
			return target{}, refuse("%s: not in PATH; to run the file in this folder, give ./%s", program, program)
		}
		return target{}, refuse("%s: no such file, Go package or program in PATH", program)
	case err == nil && info.IsDir():
		return folder(program)
	case err == nil && info.Mode()&0o111 == 0:
		return target{}, refuse("%s: is not executable: chmod +x it, or name its interpreter, as in gorun python3 %s", program, program)
	case err == nil:
		path, err := filepath.Abs(program)
		return target{executable: path}, err
	case !errors.Is(err, fs.ErrNotExist):
		return target{}, refuse("%s: %v", program, reason(err))
	case filepath.IsAbs(program) || strings.HasPrefix(program, "."):
		return target{}, refuse("%s: no such file or folder", program)
	}
	// Perhaps an import path.
	out, err := exec.CommandContext(ctx, "go", "list", "-find", "-f", "{{.Name}}", "--", program).Output()
	switch {
	case err != nil:
		return target{}, refuse("%s: no such file, folder or Go package", program)
	case strings.TrimSpace(string(out)) != "main":
		return target{}, refuse("%s: is package %s, want a package main", program, strings.TrimSpace(string(out)))
	}
	return target{pkg: program, name: program}, nil
}

// reason is what the system said, without the path that callers name themselves.
func reason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

func folder(dir string) (target, error) {
	sources, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(sources) == 0 {
		return target{}, refuse("%s: is a folder without .go files, want a Go package or a program", dir)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return target{}, refuse("%s: %v", dir, err)
	}
	name := filepath.Clean(dir)
	if name == "." {
		name = filepath.Base(abs)
	}
	return inItsModule(target{pkg: abs, name: name}, dir)
}

// inItsModule makes go build run in the module that a source belongs to. One that belongs
// to none is built in the module of the working directory.
func inItsModule(t target, dir string) (target, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return target{}, refuse("%s: %v", t.name, err)
	}
	here, err := os.Getwd()
	if err != nil {
		return target{}, refuse("working directory: %v", err)
	}
	if theirs := moduleRoot(dir); theirs != "" && theirs != moduleRoot(here) {
		t.dir = dir
		if strings.HasSuffix(t.pkg, ".go") {
			t.pkg = filepath.Base(t.pkg)
		}
	}
	return t, nil
}

func moduleRoot(dir string) string {
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			return ""
		}
		dir = up
	}
}

// command names what is built as its users know it: train for train.go, mnist for ./mnist.
func (t target) command() string {
	return strings.TrimSuffix(filepath.Base(t.pkg), ".go")
}

// build makes the program executable, once for all ranks. What it builds goes into folder.
func build(ctx context.Context, program, folder string) (binary, error) {
	t, err := resolve(ctx, program)
	if err != nil {
		return binary{}, err
	}
	if t.executable != "" {
		return binary{path: t.executable, name: program}, nil
	}
	began := time.Now()
	b := binary{path: filepath.Join(folder, "bin", t.command()), source: true, name: t.name}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", b.path, "--", t.pkg)
	cmd.Dir = t.dir
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	// The compiler and what it starts end with the build, and with this process.
	cmd.SysProcAttr = groupOfItsOwn()
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	runtime.LockOSThread() // what ends the group with this process goes by the thread
	err = cmd.Run()
	runtime.UnlockOSThread()
	b.took = time.Since(began)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return binary{}, context.Cause(ctx)
	case errors.Is(err, exec.ErrNotFound):
		return binary{}, refuse("%s: the go command that builds it is not in PATH: install Go, or give a program that is built already", program)
	default:
		r := refuse("%s does not compile:", program)
		for line := range strings.Lines(said.String()) {
			if strings.Contains(line, "no space left on device") {
				return binary{}, refuse("%s could not be built: %s%s", program, strings.TrimSpace(line), room(syscall.ENOSPC))
			}
			r.Lines = append(r.Lines, strings.TrimRight(line, "\r\n"))
		}
		if len(r.Lines) == 0 {
			r.Lines = []string{err.Error()}
		}
		return binary{}, r
	}
	if info, err := os.Stat(b.path); err != nil || info.Mode()&0o111 == 0 {
		return binary{}, refuse("%s: is not a package main: there is nothing to run", program)
	}
	return b, nil
}

// describe is the beginning of the first line of a job.
func (b binary) describe() string {
	if !b.source {
		return ""
	}
	return fmt.Sprintf("built %s (%s) · ", b.name, lasted(b.took))
}
