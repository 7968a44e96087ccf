package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

// logCalls are the methods that log, with the place of the message among their arguments;
// keys and values follow. Whoever passes a message on is one of them, and is told by its
// folder: see passers.
var logCalls = map[string]int{"Debug": 0, "Info": 0, "Warn": 0, "Error": 0, "DebugContext": 1, "InfoContext": 1, "WarnContext": 1, "ErrorContext": 1, "Log": 2, "With": -1}

// passers are our own functions that log what they are given, such as Sparing's Warn: what
// is given to them is looked at, and what they do is not. The number is the place of the
// message, and where keys begin; -1 is that they are given none.
var passers = map[string]struct{ message, keys int }{
	"internal/httpapi Warn":     {0, 1},
	"internal/httpapi Settle":   {-1, -1},
	"internal/httpapi Write":    {-1, -1}, // net/http's own messages
	"clients/go logFailure":     {0, 2},
	"clients/go keep":           {-1, -1}, // chooses one of two constants
	"apps/to_http say":          {1, 3},
	"apps/to_qd tell":           {-1, -1},
	"internal/access tell":      {1, 2},
	"qd/drain tell":             {0, 1},
	"internal/program/logs New": {-1, -1},
	"lookupd log":               {0, 1},
}

// secret is what a value must not be made of, unless it is only counted.
var secret = regexp.MustCompile(`(?i)^(body|bodies|payload|secret|password|passphrase|token|cookie|authorization|requesturi|rawquery|rawurl)s?$|(?i)(secret|password|token)$`)

// Every line of a log has a constant message and keys that docs/logs.md has, so that it can
// be searched for, counted and filtered; and nothing that only its owner may see.
func TestLogsFollowTheRules(t *testing.T) {
	page, err := os.ReadFile("../../docs/logs.md")
	if err != nil {
		t.Fatal(err)
	}
	keys := make(map[string]bool)
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]*`) \\|").FindAllStringSubmatch(string(page), -1) {
		for _, key := range regexp.MustCompile("`([a-z0-9_]+)`").FindAllStringSubmatch(row[1], -1) {
			keys[key[1]] = false
		}
	}
	lines := 0
	err = filepath.WalkDir("../..", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return enter("../..", p, d.Name())
		}
		if filepath.Ext(p) != ".go" || strings.HasSuffix(p, "_test.go") {
			return nil
		}
		rel, err := filepath.Rel("../..", p)
		if err != nil {
			return err
		}
		breaches, n := checkLogs(filepath.ToSlash(rel), p, nil, keys)
		for _, b := range breaches {
			t.Error(b)
		}
		lines += n
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if lines < 150 {
		t.Errorf("only %d lines were found: the walk misses some", lines)
	}
	for key, used := range keys {
		if !used && !slices.Contains(written, key) {
			t.Errorf("docs/logs.md has %q, which no line has", key)
		}
	}
}

// written are the keys that package logs itself writes.
var written = []string{"time", "level", "msg", "prefix", "like", "unlogged"}

// checkLogs returns what is wrong with what a file logs, and how many lines that are. It
// marks the keys that it has seen.
func checkLogs(rel, file string, src any, keys map[string]bool) (breaches []string, lines int) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, file, src, parser.SkipObjectResolution)
	if err != nil {
		return []string{err.Error()}, 0
	}
	c := &logChecker{dir: filepath.ToSlash(filepath.Dir(rel)), keys: keys}
	c.say = func(n ast.Node, format string, args ...any) {
		breaches = append(breaches, fmt.Sprintf("%s:%d: ", rel, fset.Position(n.Pos()).Line)+fmt.Sprintf(format, args...))
	}
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok {
			_, c.passes = passers[c.dir+" "+fn.Name.Name]
		}
		ast.Inspect(d, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				c.call(call)
			}
			return true
		})
		if fn, ok := d.(*ast.FuncDecl); c.spreads || ok && fn.Name.Name == "attributes" {
			ast.Inspect(d, c.list)
		}
		c.spreads, c.passes = false, false
	}
	return breaches, c.lines
}

type logChecker struct {
	dir     string
	keys    map[string]bool
	say     func(n ast.Node, format string, args ...any)
	lines   int
	passes  bool // this function passes on what it is given
	spreads bool // this function makes a list of keys and values first
}

func (c *logChecker) call(call *ast.CallExpr) {
	name, method := "", false
	switch fn := call.Fun.(type) {
	case *ast.Ident:
		name = fn.Name
	case *ast.SelectorExpr:
		name, method = fn.Sel.Name, true
		if x, ok := fn.X.(*ast.Ident); ok && slices.Contains([]string{"http", "slog", "math", "errors"}, x.Name) {
			return // http.Error is no log's
		}
	}
	at, keys := -2, 0
	if n, ok := logCalls[name]; ok && method {
		at, keys = n, n+1
	}
	if p, ok := passers[c.dir+" "+name]; ok && name != "Warn" {
		at, keys = p.message, p.keys
		if at < 0 {
			return
		}
	}
	if at == -2 || len(call.Args) <= max(at, 0) {
		return
	}
	if at >= 0 {
		c.lines++
		c.message(call.Args[at])
	}
	args := call.Args[min(keys, len(call.Args)):]
	if call.Ellipsis.IsValid() {
		c.spreads = true
		args = args[:len(args)-1]
	}
	c.pairs(call, args)
}

// message wants a constant, in one case.
func (c *logChecker) message(arg ast.Expr) {
	if c.passes {
		return
	}
	text, constant := constantOf(arg)
	if !constant {
		c.say(arg, "a log's message is not constant: give what differs a key")
		return
	}
	first := []rune(text + "  ")[:2]
	if unicode.IsUpper(first[0]) && !unicode.IsUpper(first[1]) {
		c.say(arg, "a log's message begins in upper case: %q", text)
	}
	if strings.HasSuffix(text, ".") {
		c.say(arg, "a log's message ends with a full stop: %q", text)
	}
}

func constantOf(x ast.Expr) (string, bool) {
	switch x := x.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(x.Value)
		return text, err == nil
	case *ast.BinaryExpr:
		a, ok := constantOf(x.X)
		b, too := constantOf(x.Y)
		return a + b, ok && too
	}
	return "", false
}

func (c *logChecker) pairs(n ast.Node, args []ast.Expr) {
	if len(args)%2 != 0 {
		c.say(n, "a log's key has no value")
		return
	}
	for i := 0; i < len(args); i += 2 {
		key, constant := constantOf(args[i])
		if _, known := c.keys[key]; !constant || !known {
			if !(c.passes && !constant) {
				c.say(args[i], "%q is none of the keys of logs, which docs/logs.md lists", key)
			}
			continue
		}
		c.keys[key] = true
		if what := tells(args[i+1]); what != "" {
			c.say(args[i+1], "%s may be what only its owner may see: log how much it is, or nothing", what)
		}
	}
}

// tells is the name in a value that must not be logged, if there is one. What is only
// counted may be.
func tells(value ast.Expr) (what string) {
	ast.Inspect(value, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if fn, ok := n.Fun.(*ast.Ident); ok && fn.Name == "len" {
				return false
			}
		case *ast.Ident:
			if secret.MatchString(n.Name) {
				what = n.Name
			}
		}
		return true
	})
	return what
}

// list looks at the lists of keys and values that a function makes: []any{…}, and what is
// appended to them in pairs.
func (c *logChecker) list(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.CompositeLit:
		list, ok := n.Type.(*ast.ArrayType)
		if !ok {
			break
		}
		if of, ok := list.Elt.(*ast.Ident); ok && of.Name == "any" {
			c.pairs(n, n.Elts)
		}
	case *ast.CallExpr:
		if fn, ok := n.Fun.(*ast.Ident); ok && fn.Name == "append" && len(n.Args) == 3 {
			c.pairs(n, n.Args[1:])
		}
	}
	return true
}

// The rules on made-up files: what must be said about each, if anything.
func TestCheckLogs(t *testing.T) {
	for _, tt := range []struct{ file, src, breach string }{
		{"qd/x.go", `log.Info("topic created", "topic", name)`, ""},
		{"qd/x.go", `s.log.With("topic", name).Error("an error", "bytes", len(body))`, ""},
		{"qd/x.go", `http.Error(w, body, 500)`, ""},
		{"qd/x.go", `log.Info("topic "+name)`, "not constant"},
		{"qd/x.go", `log.Info(fmt.Sprint(name))`, "not constant"},
		{"qd/x.go", `log.Info("Topic created")`, "upper case"},
		{"qd/x.go", `log.Info("TLS files loaded")`, ""},
		{"qd/x.go", `log.Info("topic created.")`, "full stop"},
		{"qd/x.go", `log.Info("topic created", "tpoic", name)`, "none of the keys"},
		{"qd/x.go", `log.Info("topic created", key, name)`, "none of the keys"},
		{"qd/x.go", `log.With("tpoic", name)`, "none of the keys"},
		{"qd/x.go", `log.Log(ctx, level, "topic created", "tpoic", name)`, "none of the keys"},
		{"qd/x.go", `log.Info("topic created", "topic")`, "no value"},
		{"qd/x.go", `log.Info("published", "topic", string(m.Body))`, "Body may be"},
		{"qd/x.go", `log.Info("refused", "topic", authSecret)`, "authSecret may be"},
		{"qd/x.go", `log.Info("refused", "topic", r.URL.RawQuery)`, "RawQuery may be"},
		{"qd/x.go", `about := []any{"tpoic", name}; log.Info("topic created", about...)`, "none of the keys"},
		{"qd/x.go", `about = append(about, "topic", body); log.Info("topic created", about...)`, "body may be"},
		{"clients/go/x.go", `r.logFailure(name+" failed", err)`, "not constant"},
		{"clients/go/x.go", `r.logFailure("message failed", err, "tpoic", name)`, "none of the keys"},
		{"qd/drain/x.go", `d.tell(what)`, "not constant"},
	} {
		src := "package x; func f() { " + tt.src + " }"
		got, _ := checkLogs(tt.file, tt.file, src, map[string]bool{"topic": false, "bytes": false})
		t.Run(tt.src, func(t *testing.T) { expect(t, got, tt.breach) })
	}
}
