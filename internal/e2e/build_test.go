package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// programs is the folder that every program was built into.
var programs string

// programsAre names that folder to a run of these tests that another one has
// started.
const programsAre = "MILLRACE_PROGRAMS"

func TestMain(m *testing.M) {
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	if programs = os.Getenv(programsAre); programs != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "millrace-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "../../apps/...")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "e2e: building the programs: %v\n%s", err, out)
		return 1
	}
	programs = dir
	return m.Run()
}
