package arrows

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"slices"
	"strconv"
	"strings"
)

// rules maps a folder, or the beginning of an import path, to folders.
type rules map[string][]string

// of is the longest key that dir is or lies under, "" if there is none.
func (r rules) of(dir string) string {
	for ; dir != "." && dir != "/"; dir = path.Dir(dir) {
		if _, ok := r[dir]; ok {
			return dir
		}
	}
	return ""
}

// reaches says whether a chain of arrows leads from one folder to another.
func (r rules) reaches(from, to string) bool {
	return slices.ContainsFunc(r[from], func(next string) bool { return next == to || r.reaches(next, to) })
}

// checker collects what is wrong with the files it is given.
type checker struct {
	module          string
	layout, outside rules
	forTests        []string
	entries         []string

	files      int
	documented map[string]bool // by folder
	complaints []string
}

// processWide are the functions that read or end what belongs to the whole process.
var processWide = map[string][]string{
	"os":  {"Exit", "Getenv", "LookupEnv", "Environ", "ExpandEnv", "Setenv", "Unsetenv", "Clearenv"},
	"log": {"Fatal", "Fatalf", "Fatalln"},
}

// add checks one file, named relative to the module's root with slashes.
func (c *checker) add(name string, source []byte) error {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, source, parser.ParseComments)
	if err != nil {
		return err
	}
	c.files++
	test := strings.HasSuffix(name, "_test.go")
	dir := path.Dir(name)
	if c.documented == nil {
		c.documented = map[string]bool{}
	}
	if !test {
		c.documented[dir] = c.documented[dir] || file.Doc.Text() != ""
	}
	complain := func(at ast.Node, format string, args ...any) {
		p := fset.Position(at.Pos())
		c.complaints = append(c.complaints, fmt.Sprintf("%s:%d: %s", p.Filename, p.Line, fmt.Sprintf(format, args...)))
	}
	names := map[string]string{} // of imported packages in this file
	for _, spec := range file.Imports {
		target, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return err
		}
		name := path.Base(target)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = target
		if why := c.forbids(dir, target, test); why != "" {
			complain(spec, "%s", why)
		}
		if name == "." {
			complain(spec, "%s is imported as \".\": give it a name", target)
		}
	}
	process := file.Name.Name == "main" || test || slices.Contains(c.entries, name)
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Recv == nil && n.Name.Name == "init" {
				complain(n, "an init function: do it where it is needed, or in main")
			}
		case *ast.SelectorExpr:
			pkg, ok := n.X.(*ast.Ident)
			if !ok {
				break
			}
			target := names[pkg.Name]
			if target == "time" && n.Sel.Name == "Sleep" {
				complain(n, "time.Sleep: wait for what is to happen, on a channel or a timer that ends with its context")
			}
			if slices.Contains(processWide[target], n.Sel.Name) && !process {
				complain(n, "%s.%s: only main packages and %s may; take the value as an argument or return an error", target, n.Sel.Name, strings.Join(c.entries, ", "))
			}
		case *ast.BasicLit:
			if text, err := strconv.Unquote(n.Value); n.Kind == token.STRING && err == nil && personal(text) {
				complain(n, "%s is a folder of one machine", n.Value)
			}
		}
		return true
	})
	return nil
}

// forbids says why files in dir may not import target, or "".
func (c *checker) forbids(dir, target string, test bool) string {
	if strings.HasPrefix(target, ".") || strings.HasPrefix(target, "/") {
		return fmt.Sprintf("import of the folder %s: use its path in a module", target)
	}
	for prefix, users := range c.outside {
		if strings.HasPrefix(target, prefix) && !slices.Contains(users, c.layout.of(dir)) {
			return fmt.Sprintf("%s imports %s: only %s may", dir, target, strings.Join(users, ", "))
		}
	}
	inner, ours := strings.CutPrefix(target, c.module+"/")
	if !ours {
		return ""
	}
	from, to := c.layout.of(dir), c.layout.of(inner)
	switch {
	case from == "":
		return fmt.Sprintf("%s imports %s, but has no rule: give it one in the table of internal/arrows", dir, inner)
	case to == "":
		return fmt.Sprintf("%s has no rule: give it one in the table of internal/arrows", inner)
	case from == to, slices.Contains(c.layout[from], to), test && (c.layout.reaches(from, to) || slices.Contains(c.forTests, to)):
		return ""
	case len(c.layout[from]) == 0:
		return fmt.Sprintf("%s imports %s: %s imports nothing of this module", dir, inner, from)
	}
	return fmt.Sprintf("%s imports %s: %s may import %s", dir, inner, from, strings.Join(c.layout[from], ", "))
}

// personal says whether text is a path in somebody's home.
func personal(text string) bool {
	for _, home := range []string{"/home/", "/Users/", "/root/", `C:\Users\`} {
		if strings.HasPrefix(text, home) && len(text) > len(home) {
			return true
		}
	}
	return false
}

// end is all complaints, in order, with those about whole packages.
func (c *checker) end() []string {
	for dir, ok := range c.documented {
		if !ok {
			c.complaints = append(c.complaints, dir+": the package has no comment that says its one idea")
		}
	}
	slices.Sort(c.complaints)
	return c.complaints
}

// localReplacements lists the folders that a go.mod puts in the place of modules.
func localReplacements(mod string) (paths []string) {
	for line := range strings.Lines(mod) {
		line, _, _ = strings.Cut(line, "//")
		if _, to, ok := strings.Cut(line, "=>"); ok {
			to = strings.TrimSpace(to)
			if strings.HasPrefix(to, ".") || strings.HasPrefix(to, "/") {
				paths = append(paths, to)
			}
		}
	}
	return paths
}
