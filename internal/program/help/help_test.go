package help

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// mill has what is awkward: characters that formatters and shells have a use for.
var mill = Page{
	Name: "mill", Version: "1.2.3-dev", Released: "2026-11-21", Synopsis: "grinds it's corn, `finely`",
	About: "Corn comes from standard input.\n.It is ground\nby \\stones, 50% of them \"old\" – and ~new^.\n\n  a table\n  .left as it is\n\nThe end.",
	Examples: []Example{
		{"Grind a sack", "mill --in 'a b' |\n  sort"},
		{"Grind nothing", "mill"},
	},
	Groups: []Group{
		{"Corn", []Flag{
			{Name: "in", Kind: "file", Text: "what to [grind]: one's corn; much more is said of it than fits into a line, so that there are two of them"},
			{Name: "out-dir", Kind: "directory", Text: "where flour goes"},
			{Name: "from", Kind: "host:port", Text: "a miller (may be given several times)", Repeats: true},
		}},
		{"Other flags", []Flag{
			{Name: "level", Kind: "level", Text: "coarse or fine (default fine)", Choices: []string{"coarse", "fine"}},
			{Name: "wind", Text: "whether there is: true, false or some", Choices: []string{"true", "false", "some"}, Bare: true},
			{Name: "quick", Text: "do it at once", Bare: true},
		}},
	},
	Notes: []Note{{"Exit status", "0 if there is flour"}},
}

// yard is a program with commands.
var yard = Page{Name: "yard", Version: "1", Released: "2026-11-21", Synopsis: "keeps mills", Commands: []Page{
	{Name: "yard mill", Synopsis: "grind; well", Groups: mill.Groups},
	{Name: "yard wash", Synopsis: "clean", Groups: []Group{{"Flags", []Flag{{Name: "soap", Kind: "pieces", Text: "`'\\$x"}}}}},
}}

func TestText(t *testing.T) {
	const want = `mill - grinds it's corn, ` + "`finely`" + `

Usage: mill [flags]

Corn comes from standard input. .It is ground by \stones, 50% of them "old" – and ~new^.

  a table
  .left as it is

The end.

Examples:
  Grind a sack:
      mill --in 'a b' |
        sort

  Grind nothing:
      mill

Corn:
  --in file
        what to [grind]: one's corn; much more is said of it than fits into a line, so that
        there are two of them
  --out-dir directory
        where flour goes
  --from host:port
        a miller (may be given several times)

Other flags:
  --level level
        coarse or fine (default fine)
  --wind
        whether there is: true, false or some
  --quick
        do it at once

Exit status: 0 if there is flour
`
	if got := mill.Text(); got != want {
		t.Errorf("it says\n%s", got)
	}
	if got := yard.Text(); !strings.Contains(got, "Usage: yard COMMAND [flags]\n") || !strings.Contains(got, "  wash\n        clean\n") {
		t.Errorf("of commands it says\n%s", got)
	}
}

// The page comes out of the formatter as it went in, and neither groff nor mandoc finds
// a fault with it.
func TestMan(t *testing.T) {
	for _, p := range []Page{mill, yard} {
		path := filepath.Join(t.TempDir(), p.Name+".1")
		if err := os.WriteFile(path, []byte(p.Man()), 0o600); err != nil {
			t.Fatal(err)
		}
		groff := formatted(t, "groff", "-ww", "-man", "-Tutf8", "-P-cbou", "-rLL=90n", path)
		formatted(t, "mandoc", "-Tlint", "-W", "warning", path)
		if groff == "" || p.Name != mill.Name {
			continue
		}
		for _, want := range []string{
			"mill - grinds it's corn, `finely`", `.It is ground by \stones, 50% of them "old" – and ~new^.`, "a table", ".left as it is",
			"mill --in 'a b' |", "--in file", "--from host:port", "EXIT STATUS", "1.2.3-dev",
		} {
			if !strings.Contains(strings.Join(strings.Fields(groff), " "), want) {
				t.Errorf("%q is missing in\n%s", want, groff)
			}
		}
	}
}

// formatted is what a formatter makes of a page, or empty where there is none.
func formatted(t *testing.T, name string, args ...string) string {
	t.Helper()
	if !has(t, name) {
		return ""
	}
	cmd := exec.Command(name, args...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if name == "mandoc" {
		errs.Write(out) // its complaints
	}
	if err != nil || errs.Len() > 0 {
		t.Errorf("%s: %v\n%s", name, err, errs.String())
	}
	return string(out)
}

// has reports whether there is such a program. Bash is everywhere, so where it is said to
// be all there, it is to be looked at.
func has(t *testing.T, name string) bool {
	t.Helper()
	_, err := exec.LookPath(name)
	if err != nil && name == "bash" && os.Getenv("CI") == "true" {
		t.Fatal("completion is tested with bash, which is not there")
	}
	if err != nil {
		t.Logf("skipped: there is no %s", name)
	}
	return err == nil
}

// completed are the words that mill's or yard's flags are completed to.
var completed = map[string]string{
	"mill ":                      "--from --help --in --level --out-dir --quick --wind",
	"mill --ou":                  "--out-dir",
	"mill -ou":                   "--out-dir",
	"mill x":                     "",
	"mill --level ":              "coarse fine",
	"mill --level=":              "coarse fine",
	"mill --level f":             "fine",
	"mill -level=f":              "fine",
	"mill --from ":               "",
	"mill --from h:1 --le":       "--level",
	"mill --quick --l":           "--level",
	"mill --wind --l":            "--level",
	"mill --wind=":               "false some true",
	"mill --quick=":              "",
	"mill --in corn":             "corn-dir corn.txt",
	"mill --in=corn.":            "corn.txt",
	"mill --out-dir c":           "corn-dir",
	"mill --in two\\ ":           "two words",
	"/usr/bin/mill --level c":    "coarse",
	"yard ":                      "--help --version mill wash",
	"yard w":                     "wash",
	"yard wash ":                 "--soap",
	"yard mill --level ":         "coarse fine",
	"yard wash --soap x --":      "--soap",
	"yard mow --":                "",
	"yard mill --in corn.txt -q": "--quick",
}

// field has what paths are completed to.
func field(t *testing.T) string {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "corn-dir"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"corn.txt", "two words"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// pages are mill, which has --help as all programs do, and yard.
func pages() []Page {
	m := mill
	m.Groups = append(append([]Group{}, mill.Groups...), Group{"More", []Flag{{Name: "help", Text: "print this", Bare: true}}})
	return []Page{m, yard}
}

func script(t *testing.T, shell string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "script")
	var all strings.Builder
	for _, p := range pages() {
		text, err := p.Completion(shell)
		if err != nil {
			t.Fatal(err)
		}
		all.WriteString(text)
	}
	if err := os.WriteFile(path, []byte(all.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// bashWords divides a line into words as readline does, and calls what completes it.
const bashWords = `
source "$1"
line=$2
COMP_WORDS=()
while [[ $line =~ ^[[:space:]]*(=|([^[:space:]=\\]|\\.)+)(.*)$ ]]; do
	COMP_WORDS+=("${BASH_REMATCH[1]//\\/}")
	line=${BASH_REMATCH[3]}
done
[[ $2 == *[!\\]' ' ]] && COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]}-1))
name=${COMP_WORDS[0]##*/}
function=$(complete -p "$name") && function=${function#*-F } && function=${function%% *}
"$function" "$name"
printf '%s\n' "${COMPREPLY[@]}"
`

func TestBash(t *testing.T) {
	if !has(t, "bash") {
		return
	}
	path, dir := script(t, "bash"), field(t)
	for line, want := range completed {
		cmd := exec.Command("bash", "--norc", "-uc", bashWords, "bash", path, line)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if got := sorted(string(out)); err != nil || got != want {
			t.Errorf("%q is completed to %q, %v, want %q", line, got, err, want)
		}
	}
	// Where = divides no words, what stands before it is part of what is put in.
	cmd := exec.Command("bash", "--norc", "-uc", `source "$1"; COMP_WORDS=(mill --level=f) COMP_CWORD=1; _millrace_mill; echo "${COMPREPLY[@]}"`, "bash", path)
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "--level=fine\n" {
		t.Errorf("in one word it is completed to %q, %v", out, err)
	}
}

func sorted(lines string) string {
	words := strings.Split(strings.TrimSpace(lines), "\n")
	slices.Sort(words)
	return strings.Join(words, " ")
}

func TestFish(t *testing.T) {
	if !has(t, "fish") {
		return
	}
	path, dir := script(t, "fish"), field(t)
	for line, want := range completed {
		switch line {
		case "mill ", "yard ", "yard wash ", "yard mow --", "mill --quick=", "mill -ou", "mill -level=f", "yard mill --in corn.txt -q":
			continue // fish shows flags only after a dash, adds its own, and knows two dashes alone
		}
		cmd := exec.Command("fish", "--no-config", "-c", `source $argv[1]; complete -C $argv[2]`, path, line)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "HOME="+dir)
		out, err := cmd.CombinedOutput()
		var words []string
		for word := range strings.Lines(string(out)) {
			word, _, _ = strings.Cut(strings.TrimSpace(word), "\t")
			if _, value, found := strings.Cut(word, "="); found {
				word = value
			}
			words = append(words, strings.NewReplacer("/", "", `\`, "").Replace(word))
		}
		if got := sorted(strings.Join(words, "\n")); err != nil || !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%q is completed to %q, %v, want %q", line, got, err, want)
		}
	}
}

// Of zsh, whose completion needs a terminal, it is looked at whether it can read the
// script and knows then who completes for the programs.
func TestZsh(t *testing.T) {
	if !has(t, "zsh") {
		return
	}
	cmd := exec.Command("zsh", "-fc", `autoload -Uz compinit && compinit -D -u && source $1 && print $_comps[mill] $_comps[yard] && whence -w _mill _yard`, "zsh", script(t, "zsh"))
	out, err := cmd.CombinedOutput()
	if want := "_mill _yard\n_mill: function\n_yard: function\n"; err != nil || string(out) != want {
		t.Errorf("%v, %s", err, out)
	}
}

func TestUnknownShell(t *testing.T) {
	if _, err := mill.Completion("csh"); err == nil {
		t.Error("there is no completion for csh")
	}
}
