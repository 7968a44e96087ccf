package admin_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/millrace-mq/millrace/admin"
	"github.com/millrace-mq/millrace/admin/cluster/clustertest"
	"github.com/millrace-mq/millrace/internal/access"
)

// TestReloadIsWhole has the access file become bad while a reload is under way: the
// settings do not change either. Then they do.
func TestReloadIsWhole(t *testing.T) {
	_, lines, err := access.NewToken("ops")
	if err != nil {
		t.Fatal(err)
	}
	s := settings(clustertest.NewFleet(t, clustertest.Nodes(1), clustertest.Topics(1)))
	s.AccessFile = filepath.Join(t.TempDir(), "access.toml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(s.AccessFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	found := lines + "[[rule" // by a reload
	s.Reread = func() (*admin.Settings, error) {
		write(found)
		next := s
		next.LogLevel = "debug"
		return &next, nil
	}
	write(lines)
	var level slog.LevelVar
	d, err := admin.Listen(s, slog.New(slog.DiscardHandler), &level)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.Reload(); err == nil || level.Level() != slog.LevelInfo {
		t.Errorf("a bad access file: %v, level %v", err, level.Level())
	}
	found = lines
	if _, err := d.Reload(); err != nil || level.Level() != slog.LevelDebug {
		t.Errorf("a good one: %v, level %v", err, level.Level())
	}
}
