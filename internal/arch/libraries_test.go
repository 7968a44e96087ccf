package arch

import (
	"os"
	"regexp"
	"strings"
	"testing"

	programs "github.com/millrace-mq/millrace/internal/program"
)

// Each module that we import has one place in ARCHITECTURE's table of libraries, with
// the version that go.mod has, and so have those of the tools.
func TestLibraries(t *testing.T) {
	told := librariesTold(t)
	for _, file := range []string{"../../go.mod", "../tools/go.mod"} {
		for module, version := range required(t, file) {
			name := strings.TrimPrefix(module, "github.com/")
			got := told[name]
			if len(got) == 0 {
				name = strings.TrimSuffix(name, "/v2")
				got = told[name]
			}
			if len(got) != 1 || got[0] != version {
				t.Errorf("%s: the table in docs/ARCHITECTURE.md should have `%s` %s, once; it has %q", file, name, version, got)
			}
		}
	}
}

// librariesTold are the versions in the table, by module.
func librariesTold(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../../docs/ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n## Libraries\n")
	table, _, _ = strings.Cut(table, "\n## ")
	entry := regexp.MustCompile("`([^` ]+)` (of [0-9-]+|[0-9][0-9A-Za-z.-]*)")
	told := make(map[string][]string)
	for row := range strings.Lines(table) {
		first, _, _ := strings.Cut(strings.TrimPrefix(row, "|"), "|")
		for _, m := range entry.FindAllStringSubmatch(first, -1) {
			told[m[1]] = append(told[m[1]], m[2])
		}
	}
	return told
}

// required are the modules that a go.mod requires directly. Of one without a version
// the date counts.
func required(t *testing.T, path string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^(?:\t|require )(\S+) v(\S+)$`)
	dated := regexp.MustCompile(`-(\d{4})(\d\d)(\d\d)\d{6}-[0-9a-f]{12}$`)
	modules := make(map[string]string)
	for _, m := range line.FindAllStringSubmatch(string(text), -1) {
		version := m[2]
		if d := dated.FindStringSubmatch(version); d != nil {
			version = "of " + d[1] + "-" + d[2] + "-" + d[3]
		}
		modules[m[1]] = version
	}
	if len(modules) == 0 {
		t.Fatalf("%s requires nothing", path)
	}
	return modules
}

// The Python client is released with the programs, and cannot ask them.
func TestPythonVersion(t *testing.T) {
	text, err := os.ReadFile("../../clients/python/millrace/__init__.py")
	if err != nil {
		t.Fatal(err)
	}
	want := strings.TrimSuffix(programs.Version, "-dev")
	if !strings.Contains(string(text), "__version__ = \""+want+"\"\n") {
		t.Errorf("clients/python/millrace/__init__.py should say __version__ = %q, as internal/program/version.go says %s", want, programs.Version)
	}
}
