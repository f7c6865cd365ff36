package launcher

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gorun-ml/gorun/internal/control"
)

// offer lets the agents of other hosts fetch the program, unless it is one that they look
// up in PATH, and the files that their ranks are to find.
func (l *launch) offer(agents *control.Agents) (err error) {
	if agents == nil {
		return nil
	}
	if l.bin.source || strings.ContainsRune(l.Program, filepath.Separator) {
		if l.digest, err = agents.Offer(l.bin.path); err != nil {
			return refuse("%s: %v", l.Program, reason(err))
		}
	}
	for _, name := range l.Files {
		if err := l.offerFile(agents, name); err != nil {
			return err
		}
	}
	return nil
}

// offerFile offers a file, or all files of a folder.
func (l *launch) offerFile(agents *control.Agents, name string) error {
	if !filepath.IsLocal(name) {
		return refuse("--file %s: want a path below the working directory, where ranks on other hosts find it too", name)
	}
	return filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return refuse("--file %s: %v", path, reason(err))
		}
		if d.IsDir() {
			return nil
		}
		info, err := os.Stat(path)
		if err != nil || !info.Mode().IsRegular() {
			return refuse("--file %s: is not a regular file", path)
		}
		digest, err := agents.Offer(path)
		if err != nil {
			return refuse("--file %s: %v", path, reason(err))
		}
		l.files = append(l.files, control.File{Name: path, Digest: digest, Mode: uint32(info.Mode().Perm())})
		return nil
	})
}

// forwarded is the variables that ranks on other hosts get beside gorun's own: those asked
// for by -x, with the values that they have here.
func (l *launch) forwarded() []string {
	var env []string
	for _, v := range l.Forward {
		if strings.Contains(v, "=") {
			env = append(env, v)
			continue
		}
		if i := slices.IndexFunc(l.Environ, func(kv string) bool { return strings.HasPrefix(kv, v+"=") }); i >= 0 {
			env = append(env, l.Environ[i])
		}
	}
	return env
}
