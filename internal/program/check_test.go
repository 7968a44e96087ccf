package program

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// checkable is knobs whose queue-size must be below 100, and whose name is a file.
func checkable(fs *flag.FlagSet, std Stdio) func(context.Context) error {
	run := knobs(fs, std)
	Checkable(fs, func() error {
		if size := fs.Lookup("queue-size").Value.String(); len(size) > 2 {
			return errors.New("queue-size " + size + ": must be below 100")
		}
		return nil
	}, func() error {
		_, err := os.Stat(fs.Lookup("name").Value.String())
		return err
	})
	return run
}

// What --print-config prints gives the same settings, whatever they are.
func TestPrintedRoundTrip(t *testing.T) {
	source := regexp.MustCompile(`(?m) # .*$`)
	for _, name := range []string{"x", "", `a"b'c\d`, "line\nline\r\n\ttab", "日本 # no comment", "[x] = {1}", "true"} {
		var first, again, errs strings.Builder
		p := Program{Name: "p", Setup: checkable}
		args := []string{"--print-config", "--name=" + name, "--wait-time=1h0m0.5s", "--share=0.30000000000000004", "--on", "--peer-address=a,b", "--queue-size=9"}
		if status := p.Run(t.Context(), args, Stdio{Out: &first, Err: &errs}); status != 0 {
			t.Fatalf("%d: %s", status, &errs)
		}
		file := filepath.Join(t.TempDir(), "p.toml")
		if err := os.WriteFile(file, []byte(first.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		if status := p.Run(t.Context(), []string{"--config=" + file, "--print-config"}, Stdio{Out: &again, Err: &errs}); status != 0 {
			t.Fatalf("%d: %s", status, &errs)
		}
		if a, b := source.ReplaceAllString(first.String(), ""), source.ReplaceAllString(again.String(), ""); a != b {
			t.Errorf("%q: first\n%safterwards\n%s", name, a, b)
		}
		if !strings.Contains(again.String(), "queue_size = 9 # file "+file+":") {
			t.Errorf("it does not say where it is from:\n%s", &again)
		}
	}
}

func TestCheckConfig(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, c := range map[string]struct {
		config, says string
		status       int
	}{
		"right":          {file("right", "name='"+dir+"'"), "p: nothing is wrong with the settings\n", 0},
		"file":           {file("file", "name='/none/at/all'"), "no such file", 1},
		"value":          {file("value", "queue_size=100"), "queue-size 100: must be below 100", 1},
		"all at once":    {file("all", "queue_size=100\nshare='x'"), "queue-size 100: must be below 100", 1},
		"none":           {filepath.Join(dir, "none"), "no such file", 1},
		"a directory":    {dir, "is a directory", 1},
		"NUL":            {file("nul", "name='\x00'"), "control characters", 1},
		"half written":   {file("half", "queue_size=1\nname='x"), ":2:", 1},
		"endless":        {"/dev/zero", "is no config file", 1},
		"a key in a key": {file("keys", strings.Repeat("x.", 10000)+"y=1"), "is no setting", 1},
		"tables":         {file("tables", "a="+strings.Repeat("{b=", 10000)), "is no setting", 1},
		"another's":      {file("other", strings.Repeat("x1=1\n", 1)+strings.Repeat("[[y]]\n", 2)), "unknown key", 1},
	} {
		var out strings.Builder
		p := Program{Name: "p", Setup: checkable}
		status := p.Run(t.Context(), []string{"--check-config", "--config=" + c.config}, Stdio{Out: &out, Err: &out})
		if status != c.status || !strings.Contains(out.String(), c.says) {
			t.Errorf("%s: status %d, %s", name, status, &out)
		}
	}
}
