// Package programtest is what tests of programs share.
package programtest

import (
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/internal/program"
)

// Page wants the file to have the table of the settings of the program called name, that
// declare declares, between its marks; with rewrite it puts it there.
func Page(t *testing.T, file, name string, live []string, declare func(*flag.FlagSet), rewrite bool) {
	t.Helper()
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	declare(fs)
	// What is found out of the machine is not in a document.
	table := regexp.MustCompile("(?m)^(\\| `mem_limit` .*? \\| )`\\d+`").ReplaceAllString(program.SettingsTable(fs, live), "${1}")
	// #nosec G304 -- a page of the repository, named by a test
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- settings of "+name+" -->\n", "<!-- end of "+name+" -->\n"
	before, rest, ok := strings.Cut(string(text), begin)
	got, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no marks for %s", file, name)
	}
	if got == table {
		return
	}
	if !rewrite {
		t.Fatalf("%s does not say what %s can be told: run the test with REWRITE=1", file, name)
	}
	// #nosec G306 G703 -- a page of the repository, named by a test: everybody may read it
	if err := os.WriteFile(file, []byte(before+begin+table+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
