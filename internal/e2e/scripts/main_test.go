package scripts

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/millrace-mq/millrace/internal/e2e/testenv"
)

// programs is the folder that every program was built into.
var programs string

func TestMain(m *testing.M) {
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "millrace-scripts-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "scripts:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	if programs, err = testenv.Build(dir); err != nil {
		fmt.Fprintln(os.Stderr, "scripts:", err)
		return 1
	}
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
	testenv.TextLogs(env.Setenv)
	s := &stage{t: env.T().(testing.TB), work: env.WorkDir, actors: map[string]*actor{}}
	env.Values[stageKey{}] = s
	env.Defer(s.clear)
	return nil
}
