package conformance

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/clients/conformance/goclient"
	"github.com/millrace-mq/millrace/clients/conformance/script"
)

// adapterEnv has this test's program be the adapter of Go's client, so that the
// race detector watches that, too.
const adapterEnv = "MILLRACE_CONFORMANCE_ADAPTER"

func TestMain(m *testing.M) {
	if os.Getenv(adapterEnv) != "" {
		if err := goclient.Serve(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	// Scenarios wait for most of their time, so they are played many at once
	// however few processors there are.
	if !given("test.parallel") {
		_ = flag.Set("test.parallel", "8")
	}
	code := m.Run()
	for _, a := range started {
		if err := a.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func given(name string) (found bool) {
	flag.Visit(func(f *flag.Flag) { found = found || f.Name == name })
	return found
}

// started are the adapters of all tests, for TestMain to end.
var started []*Adapter

func TestScenarios(t *testing.T) {
	adapters := adapters(t)
	files, err := filepath.Glob("scenarios/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("there are no scenarios", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		scenarios, err := script.Parse(string(text))
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
		for _, s := range scenarios {
			for _, a := range adapters {
				playTest(t, file, s, a)
			}
		}
	}
}

func playTest(t *testing.T, file string, s script.Scenario, a *Adapter) {
	name := strings.TrimSuffix(filepath.Base(file), ".txt") + "/" + s.Title + "/" + a.Name
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		if why := s.Not[a.Name]; why != "" {
			t.Skip("not for " + a.Name + ": " + why)
		}
		if err := Play(s, a, t.TempDir()); err != nil {
			t.Errorf("%s:%d: %v", file, s.Line, err)
		}
	})
}

// adapters are those that this machine can run. Python may be missing or old,
// which only CI (CI=true) takes for a failure.
func adapters(t *testing.T) []*Adapter {
	if started != nil { // with -count, they go on
		return started
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	started = []*Adapter{{Name: "go", Args: []string{program}, Env: []string{adapterEnv + "=go"}}}
	python, err := findPython()
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		fmt.Printf("skipped: the Python client: %v\n", err)
		return started
	}
	folder, err := filepath.Abs("../python")
	if err != nil {
		t.Fatal(err)
	}
	noteFiles(t, "pyclient", folder)
	for _, form := range []string{"python", "asyncio"} {
		started = append(started, &Adapter{
			Name: form, Args: []string{python, "-W", "always::ResourceWarning", "pyclient", form},
			Env: []string{"PYTHONPATH=" + folder, "PYTHONDONTWRITEBYTECODE=1"},
		})
	}
	return started
}

// noteFiles looks at what other processes will read, so that go test, which
// watches this one, does not repeat a cached "ok" after it has changed.
func noteFiles(t *testing.T, roots ...string) {
	for _, root := range roots {
		if err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".py" {
				return err
			}
			_, err = os.ReadFile(path)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
}

func findPython() (string, error) {
	python, err := exec.LookPath("python3")
	if err != nil {
		return "", errors.New("there is no python3")
	}
	out, err := exec.Command(python, "-c", "import sys; sys.exit(sys.version_info < (3, 10) and str(sys.version))").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("python3 is older than 3.10: %s", strings.TrimSpace(string(out)))
	}
	return python, nil
}
