package takeover

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestStageCopies stages a run where there can be no hard links.
func TestStageCopies(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	if err := os.WriteFile(from, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	at, err := stage(from, to, run{from: 3, to: 7}, func(string, string) error { return errors.ErrUnsupported })
	if err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(to); at != 0 || string(text) != "3456" || err != nil {
		t.Errorf("%q from %d on, %v", text, at, err)
	}
}
