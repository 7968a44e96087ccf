package arch

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestGuarantees checks that each sentence of GUARANTEES.md names a test, and
// that the tests exist: a promise that nothing shows is none.
func TestGuarantees(t *testing.T) {
	root := filepath.Join("..", "..")
	text, err := os.ReadFile(filepath.Join(root, "docs", "GUARANTEES.md"))
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile("`([a-z0-9/_]+) (Test[A-Za-z0-9]+)`")
	tests := make(map[string]string) // the test files of a package, by folder
	sentences := 0
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "- ") {
			continue
		}
		sentences++
		named := name.FindAllStringSubmatch(line, -1)
		if len(named) == 0 {
			t.Errorf("no test is named by: %s", line)
		}
		for _, n := range named {
			folder, test := n[1], n[2]
			if tests[folder] == "" {
				tests[folder] = sources(t, filepath.Join(root, folder))
			}
			if !strings.Contains(tests[folder], "func "+test+"(t *testing.T)") {
				t.Errorf("%s has no %s, named by: %s", folder, test, line)
			}
		}
	}
	if sentences == 0 {
		t.Error("there are no sentences")
	}
}

// sources returns the test files of a folder, joined.
func sources(t *testing.T, folder string) string {
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Errorf("no tests in %s: %v", folder, err)
	}
	var all strings.Builder
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Error(err)
		}
		all.Write(text)
	}
	return all.String()
}
