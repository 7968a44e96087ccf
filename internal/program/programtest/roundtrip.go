package programtest

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/internal/program"
)

var source = regexp.MustCompile(`(?m) # (default|flag|file .*|environment .*)$`)

// RoundTrip wants what --print-config prints with args to give the same settings, as a file
// for --config, and each of args to be in it.
func RoundTrip(t *testing.T, p program.Program, args ...string) {
	t.Helper()
	printed := func(args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		if status := p.Run(t.Context(), append(args, "--print-config"), program.Stdio{Out: &out, Err: &errs}); status != 0 {
			t.Fatalf("%q: status %d, said\n%s", args, status, &errs)
		}
		return out.String()
	}
	first := printed(args...)
	if n := strings.Count(first, " # flag\n"); n != len(args) {
		t.Errorf("%d settings are from flags, want %d:\n%s", n, len(args), first)
	}
	file := filepath.Join(t.TempDir(), "printed.toml")
	if err := os.WriteFile(file, []byte(first), 0o600); err != nil {
		t.Fatal(err)
	}
	if a, b := source.ReplaceAllString(first, ""), source.ReplaceAllString(printed("--config="+file), ""); a != b {
		t.Errorf("printed:\n%s\nread again:\n%s", a, b)
	}
}
