package clients

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// folder is where the programs are built to.
var folder string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	var err error
	if folder, err = os.MkdirTemp("", "millrace-clients-"); err != nil {
		fmt.Fprintln(os.Stderr, "clients:", err)
		return 1
	}
	defer os.RemoveAll(folder)
	status := m.Run()
	if err := goleak.Find(); status == 0 && err != nil {
		fmt.Fprintln(os.Stderr, "clients:", err)
		return 1
	}
	return status
}

// programs returns the folder that the programs are in: MILLRACE_PROGRAMS, or one
// that they are built into.
var programs = sync.OnceValues(func() (string, error) {
	if built := os.Getenv("MILLRACE_PROGRAMS"); built != "" {
		return built, nil
	}
	build := exec.Command("go", "build", "-o", folder+string(filepath.Separator), "../../../apps/qd", "../../../apps/lookupd")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the programs: %w\n%s", err, out)
	}
	return folder, nil
})
