package arch

import (
	"slices"
	"strings"
	"testing"
)

func TestTreeFollowsTheRules(t *testing.T) {
	sources, err := load("../..")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(sources, func(s source) bool { return s.dir == "protocol" }) {
		t.Fatal("protocol was not read: the walk does not start at the root")
	}
	for _, b := range check(folders, sources) {
		t.Error(b)
	}
}

// The rules on made-up files: what must be said about each, if anything.
func TestCheckFile(t *testing.T) {
	const m = module + "/"
	tests := []struct {
		file, src string
		breach    string // part of the only one; empty: none
	}{
		{"protocol/x.go", `import "bufio"`, ""},
		{"protocol/x.go", `import "` + m + `internal/program"`, "protocol may import the standard library only"},
		{"protocol/x.go", `import "github.com/golang/snappy"`, "protocol may use of other modules the standard library only"},
		{"qd/tcp/x.go", `import ("net"; "` + m + `protocol"; "` + m + `qd/queue"; "` + m + `internal/httpapi")`, ""},
		{"qd/tcp/x.go", `import "` + m + `lookupd"`, "qd may import internal, protocol only"},
		{"qd/tcp/x.go", `import "` + m + `clients/go"`, "qd may import internal, protocol only"},
		{"qd/tcp/x_test.go", `import "` + m + `clients/go"`, "qd may import internal, protocol only"},
		{"qd/tcp/x.go", `import "` + m + `apps/qd"`, "what is below a program is that program's"},
		{"qd/spill/x.go", `import "` + diskqueue + `"`, ""},
		{"qd/spill/x_test.go", `import "` + forTests[0] + `"`, ""},
		{"qd/spill/x.go", `import "` + forTests[0] + `"`, "qd/spill may use of other modules"},
		{"lookupd/x.go", `import "` + diskqueue + `"`, "lookupd may use of other modules"},
		{"lookupd/x.go", `import "github.com/nsqio/go-diskqueue2"`, "lookupd may use of other modules"},
		{"lookupd/x.go", `import "` + m + `qd"`, "lookupd may import internal, protocol only"},
		{"clients/go/x.go", `import "` + m + `protocol"`, ""},
		{"clients/go/x_test.go", `import "` + prometheus + `"`, ""},
		{"clients/go/x.go", `import "` + prometheus + `"`, "clients may use of other modules"},
		{"clients/go/x.go", `import "` + m + `internal/program"`, "clients may import protocol only"},
		{"internal/program/x.go", `import "` + m + `qd"`, "internal/program may import protocol only"},
		{"apps/to_file/x.go", `import ("` + m + `clients/go"; "` + m + `internal/program")`, ""},
		{"apps/standalone/x.go", `import ("` + m + `qd"; "` + m + `lookupd")`, ""},
		{"apps/to_file/x.go", `import "` + m + `apps/to_file/archive"`, ""},
		{"apps/to_file/archive/x.go", `import "` + m + `apps/to_file/disk"`, ""},
		{"apps/to_file/x.go", `import "` + m + `apps/internal/consume"`, ""},
		{"qd/tcp/x.go", `import "` + m + `apps/internal/consume"`, "what is below a program is that program's"},
		{"apps/to_file/x.go", `import "` + m + `apps/to_file2/archive"`, "what is below a program is that program's"},
		{"apps/to_file/x.go", `import "` + m + `apps/pub"`, "what is below a program is that program's"},
		{"apps/to_file/x.go", `import "` + m + `apps/internal/consume"`, ""},
		{"qd/tcp/x.go", `import "` + m + `apps/internal/consume"`, "what is below a program is that program's"},
		{"qd/queue/x.go", `import ("time"; "` + m + `protocol"); var d time.Duration`, ""},
		{"qd/queue/x.go", `import "sync"`, "not in qd/queue"},
		{"qd/queue/x.go", `import "sync/atomic"`, "not in qd/queue"},
		{"qd/queue/x.go", `import "net/http"`, "not in qd/queue"},
		{"qd/queue/x.go", `import "` + m + `internal/program"`, "qd/queue may import protocol only"},
		{"qd/queue/x.go", `import "` + m + `qd/spill"`, "qd/queue may import protocol only"},
		{"qd/queue/x.go", `import "time"; var now = time.Now()`, "time.Now at line 1 in pure qd/queue"},
		{"qd/queue/x.go", `func f() { go f() }`, "a goroutine at line 1 in pure qd/queue"},
		{"qd/queue/x_test.go", `import ("sync"; "time"); func f() { go time.Sleep(1) }`, ""},
		{"qd/queue/x.go", `import "` + m + `qd"`, "qd/queue may import protocol only"},
		{"strange/x.go", ``, "the folder has no rule"},
	}
	for _, tt := range tests {
		t.Run(tt.file+" "+tt.src, func(t *testing.T) {
			got := checkFile(folders, made(t, tt.file, "package x; "+tt.src))
			expect(t, got, tt.breach)
		})
	}
}

func TestCheckPackageComments(t *testing.T) {
	const doc = "// Package tcp is the V2 face.\npackage tcp"
	tests := []struct {
		name   string
		files  map[string]string
		breach string
	}{
		{"one", map[string]string{"a.go": doc, "b.go": "package tcp", "a_test.go": "package tcp_test"}, ""},
		{"none", map[string]string{"a.go": "package tcp"}, "qd/tcp has 0 package comments"},
		{"two", map[string]string{"a.go": doc, "b.go": doc}, "qd/tcp has 2 package comments"},
		{"a constraint is no comment", map[string]string{"a.go": "//go:build linux\n\npackage tcp"}, "qd/tcp has 0 package comments"},
		{"empty words", map[string]string{"a.go": "// Package tcp provides TCP.\npackage tcp"}, "say what it is"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var sources []source
			for name, src := range tt.files {
				sources = append(sources, made(t, "qd/tcp/"+name, src))
			}
			got := check(folders, sources)
			expect(t, got, tt.breach)
		})
	}
}

func made(t *testing.T, name, src string) source {
	t.Helper()
	s, err := parse(name, name, src)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// expect wants the one breach that contains want, or none if want is empty.
func expect(t *testing.T, got []string, want string) {
	t.Helper()
	switch {
	case want == "" && len(got) > 0:
		t.Errorf("breaches %q, want none", got)
	case want != "" && (len(got) != 1 || !strings.Contains(got[0], want)):
		t.Errorf("breaches %q, want one with %q", got, want)
	}
}
