package scripts

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// programs is the folder that every program was built into.
var programs string

func TestMain(m *testing.M) {
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	if programs = os.Getenv("MILLRACE_PROGRAMS"); programs != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "millrace-scripts-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "scripts:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "../../../apps/...")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "scripts: building the programs: %v\n%s", err, out)
		return 1
	}
	programs = dir
	return m.Run()
}

// Every file in testdata is a scenario, played at the same time as others.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		Cmds:                commands,
		Setup:               setUp,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// setUp gives a script a stage, which clears itself when the script ends.
func setUp(env *testscript.Env) error {
	path := programs + string(filepath.ListSeparator) + env.Getenv("PATH")
	env.Setenv("PATH", path)
	s := &stage{t: env.T().(testing.TB), work: env.WorkDir, actors: map[string]*actor{}}
	env.Values[stageKey{}] = s
	env.Defer(s.clear)
	return nil
}
