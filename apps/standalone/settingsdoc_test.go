package main

import (
	"flag"
	"os"
	"testing"

	"github.com/millrace-mq/millrace/internal/program/programtest"
	"github.com/millrace-mq/millrace/qd"
)

// TestSettingsPage wants docs/SETTINGS.md to say of each setting what the program does;
// REWRITE=1 writes it.
func TestSettingsPage(t *testing.T) {
	programtest.Page(t, "../../docs/SETTINGS.md", "standalone", append(qd.Live(), "log_level"), func(fs *flag.FlagSet) { declare(fs) }, os.Getenv("REWRITE") != "")
}
