package e2e

import (
	"fmt"
	"os"
	"testing"

	"github.com/millrace-mq/millrace/internal/e2e/testenv"
)

// programs is the folder that every program was built into.
var programs string

func TestMain(m *testing.M) {
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "millrace-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	if programs, err = testenv.Build(dir); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	testenv.TextLogs(func(variable, value string) { _ = os.Setenv(variable, value) })
	return m.Run()
}
