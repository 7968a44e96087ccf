package qd_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/qd"
)

// TestReloadIsWhole has the access file become bad while a reload is under way, and the
// settings be bad beside a good one: nothing changes. Then both change.
func TestReloadIsWhole(t *testing.T) {
	secret, lines := token(t, "ops", `"stats"`)
	_, more := token(t, "more", `"publish"`)
	s := settings(t)
	s.AccessFile = filepath.Join(t.TempDir(), "access.toml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(s.AccessFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var found, level string // as a reload finds them
	s.Reread = func() (*qd.Settings, error) {
		write(found)
		next := s
		next.LogLevel = level
		return &next, nil
	}
	write(lines)
	var now slog.LevelVar
	d, err := qd.Listen(s, slog.New(slog.DiscardHandler), &now)
	if err != nil {
		t.Fatal(err)
	}
	stop := serve(t, d)
	ops := operator{t, d, secret, ""}
	mayPublish := func() bool { return ops.do("POST", "/pub?topic=t", "x") == "OK" }
	for _, c := range []struct {
		access, level, says string
		whole               bool
	}{
		{lines + "[[rule", "debug", "access.toml", false},
		{lines + more, "loud", "log-level", false},
		{lines + "\n[[rule]]\nwho = [\"ops\"]\nrights = [\"publish\"]\n", "debug", "", true},
	} {
		found, level = c.access, c.level
		_, err := d.Reload()
		if (err == nil) != c.whole || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v, want %q", err, c.says)
		}
		if got := now.Level() == slog.LevelDebug; got != c.whole || mayPublish() != c.whole {
			t.Errorf("%q: level %v, publishes: %v", c.says, now.Level(), mayPublish())
		}
		if !c.whole {
			write(lines)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
