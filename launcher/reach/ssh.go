package reach

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

//go:embed remote.sh
var remote string

// SSH starts gorun on a host in one login. The host needs no more than a shell: gorun is
// sent there unless it is there already, under its digest.
type SSH struct {
	Command []string // with its options; ssh where empty
	Program string   // this gorun
	Args    []string
	Connect time.Duration // for the login; 5 s where zero

	bounds bounds
}

const (
	loginWithin = 5 * time.Second
	outputBytes = 1 << 20
)

// Start returns when gorun runs on the host and has its letter, or says why it doesn't.
func (s SSH) Start(ctx context.Context, host string, letter []byte) (*Agent, error) {
	a, err := s.login(ctx, host, func(a *Agent) error { return a.serve(letter, 1) })
	if err != nil {
		return nil, err
	}
	a.watch()
	return a, nil
}

// Output is what gorun, run on the host, writes to standard output.
func (s SSH) Output(ctx context.Context, host string) (out []byte, err error) {
	a, err := s.login(ctx, host, func(a *Agent) (err error) {
		_ = a.in.Close() // there is nothing for it to read
		if out, err = io.ReadAll(io.LimitReader(a.out, outputBytes)); err == nil && len(out) == 0 {
			err = errors.New("ended without a word")
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	a.watch()
	return out, a.Close()
}

// login has the host run gorun, and talk do what there is to do with it.
func (s SSH) login(ctx context.Context, host string, talk func(*Agent) error) (*Agent, error) {
	program, err := s.program()
	if err != nil {
		return nil, err
	}
	defer func() { _ = program.Close() }() // only read from
	connect := s.Connect
	if connect <= 0 {
		connect = loginWithin
	}
	script := fmt.Sprintf("DIGEST=%s SIZE=%d\n%s\nexec \"$self\" %s", program.digest, program.size, remote, quoted(s.Args))
	words := append(s.command(), "-T",
		"-o", "BatchMode=yes", "-o", fmt.Sprintf("ConnectTimeout=%d", max(1, int(connect.Seconds()))),
		"-o", "ServerAliveInterval=2", "-o", "ServerAliveCountMax=2",
		"--", host, "exec /bin/sh -c "+quoted([]string{script}))
	bounds := s.bounds.orDefault()
	a, err := start(host, words, bounds.leave)
	if err != nil {
		return nil, err
	}
	within, cancel := context.WithTimeoutCause(ctx, connect+bounds.send+bounds.ready, errors.New("ssh takes too long"))
	defer cancel()
	if err := a.within(within, func() error { return s.converse(a, program, talk) }); err != nil {
		return nil, plain(host, err)
	}
	return a, nil
}

func (s SSH) command() []string {
	if len(s.Command) == 0 {
		return []string{"ssh"}
	}
	return append([]string{}, s.Command...)
}

// converse answers the script until gorun runs, and then talks to that.
func (s SSH) converse(a *Agent, p *program, talk func(*Agent) error) error {
	for {
		line, err := a.line()
		if err != nil {
			return err
		}
		said, ours := strings.CutPrefix(line, "gorun: ") // a login may greet
		switch {
		case !ours:
		case strings.HasPrefix(said, "platform "):
			if theirs := strings.TrimPrefix(said, "platform "); !runsHere(theirs) {
				return fmt.Errorf("is %s, this gorun is for %s/%s", theirs, runtime.GOOS, runtime.GOARCH)
			}
		case said == "need":
			if _, err := io.Copy(a.in, io.NewSectionReader(p, 0, p.size)); err != nil {
				return fmt.Errorf("sending gorun: %w", err)
			}
		case said == "have" || said == "kept":
			return talk(a)
		}
	}
}

// program is the gorun to be sent.
type program struct {
	*os.File
	size   int64
	digest string
}

func (s SSH) program() (*program, error) {
	f, err := os.Open(s.Program)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	n, err := io.Copy(sum, f)
	if err != nil {
		_ = f.Close() // only read from
		return nil, fmt.Errorf("%s: %w", s.Program, err)
	}
	return &program{f, n, hex.EncodeToString(sum.Sum(nil))}, nil
}

// runsHere compares what uname -sm says with what this program was built for.
func runsHere(platform string) bool {
	machine, ok := map[string]string{
		"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64",
	}[strings.ToLower(platform[strings.LastIndexByte(platform, ' ')+1:])]
	system, _, _ := strings.Cut(strings.ToLower(platform), " ")
	return ok && machine == runtime.GOARCH && system == runtime.GOOS
}

// plain turns what ssh says into what to do about it.
func plain(host string, err error) error {
	var f *Failure
	if !errors.As(err, &f) || f.Status != 255 { // ssh's own
		return err
	}
	switch said := f.Text; {
	case strings.Contains(said, "Permission denied"):
		f.Text = fmt.Sprintf("ssh may not log in without a password (%s): set up a key, for example with ssh-copy-id %s", strings.TrimRight(said, "."), host)
	case strings.Contains(said, "Host key verification failed"):
		f.Text = fmt.Sprintf("its host key is not the one that is known, or none is: log in once with ssh %s and look at it", host)
	case strings.Contains(said, "Could not resolve hostname"):
		f.Text = "its name does not resolve: " + strings.TrimPrefix(said, "ssh: Could not resolve hostname ")
	default:
		f.Text = strings.TrimPrefix(said, "ssh: ")
	}
	return f
}

// Addr is the address behind a name that ssh may know as an alias.
func (s SSH) Addr(host string) (string, error) {
	name := host[strings.LastIndexByte(host, '@')+1:]
	ctx, cancel := context.WithTimeout(context.Background(), loginWithin)
	defer cancel()
	words := append(s.command(), "-G", "--", host)
	if out, err := exec.CommandContext(ctx, words[0], words[1:]...).Output(); err == nil {
		for line := range strings.Lines(string(out)) {
			if alias, found := strings.CutPrefix(strings.TrimSpace(line), "hostname "); found {
				name = alias
			}
		}
	}
	addrs, err := net.DefaultResolver.LookupHost(ctx, name)
	if err != nil {
		return "", fmt.Errorf("host %s: its name does not resolve: %w", host, err)
	}
	return addrs[0], nil
}

// quoted writes words so that a shell reads the same.
func quoted(words []string) string {
	all := make([]string, len(words))
	for i, w := range words {
		all[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
	}
	return strings.Join(all, " ")
}
