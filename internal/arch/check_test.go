package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A source is one Go file as far as the rules are concerned.
type source struct {
	dir     string // of its package, slash-separated, from the root
	name    string
	test    bool
	imports []string
	doc     string   // the package comment; build constraints are none
	impure  []string // goroutines and clock calls, as "what at line n"
}

// load parses every Go file below root, in all build configurations. Nested
// modules, testdata and hidden folders are left out, as the go command does.
//
// The files are read by this process, not by a go list: go test sees what a
// test opens and would otherwise repeat a cached "ok" after a new import.
func load(root string) ([]source, error) {
	var sources []source
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return enter(root, p, d.Name())
		}
		if filepath.Ext(p) != ".go" {
			return nil
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		s, err := parse(filepath.ToSlash(rel), p, nil)
		sources = append(sources, s)
		return err
	})
	return sources, err
}

func enter(root, dir, name string) error {
	if dir == root {
		return nil
	}
	if name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
		return fs.SkipDir
	}
	if nested, _ := filepath.Glob(filepath.Join(dir, "go.mod")); nested != nil {
		return fs.SkipDir
	}
	return nil
}

// parse reads the file that lies at rel from the root; src is nil or what to
// parse in place of the file's content.
func parse(rel, file string, src any) (source, error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, file, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return source{}, err
	}
	s := source{
		dir:  path.Dir(rel),
		name: path.Base(rel),
		test: strings.HasSuffix(rel, "_test.go"),
		doc:  f.Doc.Text(), // directives such as //go:build are not part of the text
	}
	for _, imp := range f.Imports {
		p, err := strconv.Unquote(imp.Path.Value)
		if err != nil {
			return s, fmt.Errorf("%s: import %s: %w", rel, imp.Path.Value, err)
		}
		s.imports = append(s.imports, p)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if what := impurity(n); what != "" {
			s.impure = append(s.impure, fmt.Sprintf("%s at line %d", what, fset.Position(n.Pos()).Line))
		}
		return true
	})
	return s, nil
}

var clock = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

func impurity(n ast.Node) string {
	switch n := n.(type) {
	case *ast.GoStmt:
		return "a goroutine"
	case *ast.SelectorExpr:
		if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clock, n.Sel.Name) {
			return "time." + n.Sel.Name
		}
	}
	return ""
}

// check returns every breach of the rules, a line each, sorted.
func check(folders []folder, sources []source) []string {
	var breaches []string
	docs := map[string][]string{} // dir: the files with a package comment
	for _, s := range sources {
		breaches = append(breaches, checkFile(folders, s)...)
		docs[s.dir] = append(docs[s.dir], described(s)...)
	}
	for dir, names := range docs {
		if len(names) != 1 {
			breaches = append(breaches, fmt.Sprintf("%s has %d package comments %v, want one", dir, len(names), names))
		}
	}
	slices.Sort(breaches)
	return breaches
}

// described is the file's name if it has a package comment.
func described(s source) []string {
	if s.doc == "" {
		return nil
	}
	return []string{s.name}
}

func checkFile(folders []folder, s source) []string {
	var breaches []string
	file := path.Join(s.dir, s.name)
	breach := func(format string, args ...any) {
		breaches = append(breaches, file+": "+fmt.Sprintf(format, args...))
	}
	rule := ruleFor(folders, s.dir)
	if rule == nil {
		breach("the folder has no rule; add it to rules_test.go")
		return breaches
	}
	for _, imp := range s.imports {
		if why := rule.refuses(s, imp); why != "" {
			breach("imports %s: %s", imp, why)
		}
	}
	if rule.pure && !s.test {
		for _, what := range s.impure {
			breach("%s in pure %s", what, rule.path)
		}
	}
	if words := strings.Fields(s.doc); len(words) > 2 && words[2] == "provides" {
		breach(`the package comment begins with "Package %s provides"; say what it is`, words[1])
	}
	return breaches
}

// refuses says why the rule does not let the file import imp, or nothing.
func (r *folder) refuses(s source, imp string) string {
	rel, ours := strings.CutPrefix(imp, module+"/")
	switch {
	case ours && within(rel, "apps/internal") && within(s.dir, "apps"): // what programs share
	case ours && within(rel, "apps") && !within(s.dir, program(rel)):
		return "what is below a program is that program's"
	case ours:
		if !within(rel, r.path) && !slices.ContainsFunc(r.mayImport, func(f string) bool { return within(rel, f) }) {
			return r.path + " may import " + list(r.mayImport) + " only"
		}
	case !strings.Contains(strings.Split(imp, "/")[0], "."):
		if !s.test && slices.ContainsFunc(r.mayNot, func(f string) bool { return within(imp, f) }) {
			return "not in " + r.path
		}
	default:
		allowed := r.thirdParty
		if s.test {
			allowed = slices.Concat(allowed, r.inTests, forTests)
		}
		if !slices.ContainsFunc(allowed, func(m string) bool { return within(imp, m) }) {
			return r.path + " may use of other modules " + list(r.thirdParty) + " only"
		}
	}
	return ""
}

// program is the folder of the program that dir belongs to: apps/NAME.
func program(dir string) string {
	parts := strings.SplitN(dir, "/", 3)
	return strings.Join(parts[:min(2, len(parts))], "/")
}

func list(names []string) string {
	if len(names) == 0 {
		return "the standard library"
	}
	return strings.Join(names, ", ")
}

func ruleFor(folders []folder, dir string) *folder {
	var best *folder
	for i, f := range folders {
		if within(dir, f.path) && (best == nil || len(f.path) > len(best.path)) {
			best = &folders[i]
		}
	}
	return best
}

func within(p, folder string) bool {
	return p == folder || strings.HasPrefix(p, folder+"/")
}
