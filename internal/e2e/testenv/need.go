package testenv

import (
	"os"
	"os/exec"
	"testing"
)

// Missing ends a test that lacks something of the machine's: it says so in a line and is
// skipped, or fails with CI=true, where nothing may be missing.
func Missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("missing: %s", what)
	}
	t.Skipf("skipped: missing: %s", what)
}

// Need is Missing for a test that needs programs, if one of them is not there.
func Need(t testing.TB, programs ...string) {
	t.Helper()
	for _, name := range programs {
		if _, err := exec.LookPath(name); err != nil {
			Missing(t, "the program "+name)
		}
	}
}
