package cluster

import (
	"fmt"
	"os"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/millrace-mq/millrace/internal/e2e/testenv"
)

// folder is where the programs are built to.
var folder string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	var err error
	if folder, err = os.MkdirTemp("", "millrace-cluster-"); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		return 1
	}
	defer os.RemoveAll(folder)
	status := m.Run()
	if err := goleak.Find(); status == 0 && err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		return 1
	}
	return status
}

// programs returns the folder that the programs are in.
var programs = sync.OnceValues(func() (string, error) { return testenv.Build(folder, "qd", "lookupd") })
