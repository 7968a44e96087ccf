// Package install tests what "make install" leaves on a machine, and what all programs
// say of themselves there.
package install

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/internal/e2e/testenv"
)

// programs are all that apps has, by the names that they are installed by.
func programs(t *testing.T, prefix string) (names map[string]string) {
	t.Helper()
	mains, err := filepath.Glob("../../../apps/*/main.go")
	if err != nil || len(mains) == 0 {
		t.Fatalf("there are no programs: %v", err)
	}
	names = make(map[string]string)
	for _, path := range mains {
		name := filepath.Base(filepath.Dir(path))
		installed := prefix + name
		if prefix == "" && (name == "tail" || name == "stat") { // must not hide the system's
			installed = "millrace-" + name
		}
		names[name] = installed
	}
	return names
}

func runMake(t *testing.T, target string, settings ...string) {
	t.Helper()
	cmd := exec.Command("make", append([]string{"--no-print-directory", "-C", "../../..", target}, settings...)...)
	// This may be a part of a make, whose settings are not for this one.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "MAKE") || strings.HasPrefix(s, "MFLAGS=") })
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make %s: %v\n%s", target, err, out)
	}
}

// run returns what a program prints. It must succeed without a complaint.
func run(t *testing.T, path string, args ...string) string {
	t.Helper()
	cmd := exec.Command(path, args...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil || errs.Len() > 0 {
		t.Errorf("%s %q: %v\n%s", filepath.Base(path), args, err, errs.String())
	}
	return string(out)
}

func TestInstall(t *testing.T) {
	testenv.Need(t, "make", "bash")
	built := t.TempDir()
	for _, prefix := range []string{"", "mq-"} {
		dest := filepath.Join(t.TempDir(), "a b") // a place with a space
		settings := []string{"BUILD=" + built, "DESTDIR=" + dest, "PREFIX=/usr", "PROGRAM_PREFIX=" + prefix}
		runMake(t, "install", settings...)
		for name, installed := range programs(t, prefix) {
			t.Run(installed, func(t *testing.T) { inspect(t, filepath.Join(dest, "usr"), name, installed) })
		}
		runMake(t, "uninstall", settings...)
		err := filepath.WalkDir(dest, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				t.Errorf("%s has not been uninstalled", path)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// inspect looks at what there is of a program under root.
func inspect(t *testing.T, root, name, installed string) {
	path := filepath.Join(root, "bin", installed)
	if version := run(t, path, "--version"); !strings.HasPrefix(version, name+" v") {
		t.Errorf("its version is %q", version)
	}
	help := run(t, path, "--help")
	if !strings.HasPrefix(help, installed+" - ") || !strings.Contains(help, "\nUsage: "+installed+" ") {
		t.Errorf("its help is\n%s", help)
	}
	lookAtFlags(t, help)
	if _, commands, found := strings.Cut(help, "\nCommands "); found {
		for _, m := range regexp.MustCompile(`(?m)^  (\w+)$`).FindAllStringSubmatch(commands, -1) {
			lookAtFlags(t, run(t, path, m[1], "--help"))
		}
	}
	man := read(t, filepath.Join(root, "share/man/man1", installed+".1"))
	if hyphen := strings.ReplaceAll(installed, "-", `\-`); !strings.HasPrefix(man, ".TH ") || !strings.Contains(man, "\n"+hyphen+` \- `) {
		t.Errorf("its man page is\n%s", man)
	}
	if _, err := exec.LookPath("groff"); err == nil {
		cmd := exec.Command("groff", "-ww", "-man", "-z", "-Tutf8")
		cmd.Stdin = strings.NewReader(man)
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("groff finds in its man page: %v\n%s", err, out)
		}
	}
	const ask = `source "$1"; COMP_WORDS=("$2" --ver) COMP_CWORD=1; f=$(complete -p "$2"); f=${f#*-F }; "${f%% *}"; echo "${COMPREPLY[@]}"`
	completion := filepath.Join(root, "share/bash-completion/completions", installed)
	if got := run(t, "bash", "--norc", "-uc", ask, "bash", completion, installed); got != "--version\n" {
		t.Errorf("--ver is completed to %q", got)
	}
	for _, other := range []string{"share/zsh/site-functions/_" + installed, "share/fish/vendor_completions.d/" + installed + ".fish"} {
		if text := read(t, filepath.Join(root, other)); !strings.Contains(text, installed) || !strings.Contains(text, "version") {
			t.Errorf("%s is\n%s", other, text)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	flagLine = regexp.MustCompile(`(?m)^  --(\S+)( .*)?\n((?:        .*\n)*)`)
	// Kubernetes has these for services. A flag by such a name would take its value from one.
	kubernetes = regexp.MustCompile(`^(service-.*|port|port-.*)$`)
)

// lookAtFlags wants every flag that help lists to say what it means and, if its value is
// a number or a word, what of.
func lookAtFlags(t *testing.T, help string) {
	t.Helper()
	if strings.Contains(help, "\nOther:\n") {
		t.Errorf("a section is called as what is in none:\n%s", help)
	}
	flags := flagLine.FindAllStringSubmatch(help, -1)
	if len(flags) == 0 && !strings.Contains(help, "\nCommands ") {
		t.Errorf("no flags are listed in\n%s", help)
	}
	for _, m := range flags {
		name, kind, text := m[1], strings.TrimSpace(m[2]), strings.Join(strings.Fields(m[3]), " ")
		if len(text) < 8 {
			t.Errorf("--%s does not say what it means: %q", name, text)
		}
		if slices.Contains([]string{"int", "uint", "float", "string", "value"}, kind) {
			t.Errorf("--%s takes a %s: it should say what of, in back-quotes", name, kind)
		}
		if kind != "" && strings.Contains(text, "default "+kind) {
			t.Errorf("--%s: %s is one of its values, not what they are", name, kind)
		}
		if kubernetes.MatchString(name) {
			t.Errorf("--%s: Kubernetes has variables for services by that name", name)
		}
	}
}
