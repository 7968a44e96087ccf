package docs

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A page is a document with commands.
type page struct {
	name   string // its path in the repository
	blocks []block
}

// A block is a fenced sh block, with what is said of it.
type block struct {
	line     int // of its first command
	commands string
	prints   *string // the text block behind it

	notRun   string // why not
	terminal string // it runs until Ctrl-C, and is ready when it has printed this
	repeat   bool
	fails    bool
	needs    []string // programs that are not there before
}

var mark = regexp.MustCompile(`^<!-- (not run|no block is run|terminal|repeat|fails|needs)(?:: (.+))? -->$`)

// languages are those that a fence may name. What is to be typed is sh; text is only what
// that prints.
var languages = []string{"sh", "text", "go", "python", "javascript", "toml", "yaml", "json", "mermaid", "promql", "http", "html", "ini"}

// command finds what looks like one where no test would see it.
var command = regexp.MustCompile(`^ {4,}(build/|curl |make |go (run|test|build|install) |(qd|lookupd|admin|pub|stat|tail|to_file|to_http|to_qd|bench) --)`)

// parse reads the page called name, and all that is wrong with it.
func parse(name, text string) (page, []error) {
	p := page{name: name}
	var errs []error
	wrong := func(line int, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s:%d: %s", name, line, fmt.Sprintf(format, args...)))
	}
	var next block // what was said so far of the block to come
	var rest string
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		line := strings.TrimSpace(lines[i])
		language, fence := strings.CutPrefix(line, "```")
		if strings.HasPrefix(line, "<!-- ") {
			if m := mark.FindStringSubmatch(line); m != nil {
				if m[1] == "no block is run" {
					rest = m[2]
				} else if err := next.said(m[1], m[2]); err != nil {
					wrong(i+1, "%v", err)
				}
			}
			continue
		}
		if !fence {
			if command.MatchString(lines[i]) {
				wrong(i+1, "a command outside of a fenced sh block is tried by nobody: %s", line)
			}
			continue
		}
		if !slices.Contains(languages, language) {
			wrong(i+1, "a fence names one of %s, not %q", strings.Join(languages, " "), language)
		}
		body, end := fenced(lines, i)
		switch language {
		case "sh":
			next.line, next.commands = i+2, body
			if next.notRun == "" {
				next.notRun = rest
			}
			for n, c := range strings.Split(body, "\n") {
				if strings.HasPrefix(c, "#") || strings.Contains(c, " # ") {
					wrong(i+2+n, "zsh takes no comments from somebody who types: say it outside of the block")
				}
			}
			p.blocks = append(p.blocks, next)
		case "text":
			if n := len(p.blocks); n > 0 && p.blocks[n-1].prints == nil && between(lines, i, p.blocks[n-1]) {
				p.blocks[n-1].prints = &body
			}
		}
		next = block{}
		i = end
	}
	for _, b := range p.blocks {
		if b.repeat && b.prints == nil {
			wrong(b.line, "repeated until it prints what? A text block says it")
		}
	}
	return p, errs
}

// said notes what a comment says of the block to come.
func (b *block) said(what, detail string) error {
	if takes := what != "repeat" && what != "fails"; takes != (detail != "") {
		return fmt.Errorf("<!-- %s --> with a colon and words: %v", what, takes)
	}
	switch what {
	case "not run":
		b.notRun = detail
	case "terminal":
		b.terminal = detail
	case "needs":
		b.needs = strings.Fields(detail)
	case "repeat":
		b.repeat = true
	case "fails":
		b.fails = true
	}
	return nil
}

// fenced returns what stands between the fence at line start and its end, without the
// indentation of the fence, and the line of the end.
func fenced(lines []string, start int) (string, int) {
	indent := lines[start][:strings.Index(lines[start], "`")]
	var body []string
	for i := start + 1; i < len(lines); i++ {
		if strings.TrimSpace(lines[i]) == "```" {
			return strings.Join(body, "\n"), i
		}
		body = append(body, strings.TrimPrefix(lines[i], indent))
	}
	return strings.Join(body, "\n"), len(lines)
}

// between reports whether only empty lines stand between b and the fence at line.
func between(lines []string, line int, b block) bool {
	after := b.line - 1 + strings.Count(b.commands, "\n") + 2
	if b.commands == "" || after > line {
		return after == line+1
	}
	return strings.TrimSpace(strings.Join(lines[after:line], "")) == ""
}

// agrees reports whether got is what a text block says. A line that is ... alone stands
// for any number of lines, none included, and ... in a line for any part of it. Spaces at
// the ends of lines do not count, nor how many there are between words.
func agrees(want, got string) bool {
	var pattern strings.Builder
	pattern.WriteString(`\A`)
	for line := range strings.Lines(strings.TrimRight(want, "\n ") + "\n") {
		if line = strings.TrimSpace(line); line == "..." {
			pattern.WriteString(`(?:.*\n)*?`)
			continue
		}
		for i, part := range strings.Split(line, "...") {
			if i > 0 {
				pattern.WriteString(`.*`)
			}
			pattern.WriteString(spaces.ReplaceAllString(regexp.QuoteMeta(part), `[ \t]+`))
		}
		pattern.WriteString(`[ \t]*\n`)
	}
	pattern.WriteString(`\z`)
	var plain strings.Builder
	for line := range strings.Lines(strings.TrimRight(got, "\n ") + "\n") {
		plain.WriteString(strings.TrimSpace(line) + "\n")
	}
	return regexp.MustCompile(pattern.String()).MatchString(plain.String())
}

var spaces = regexp.MustCompile(`[ \t]+`)

// readPage parses a file of the repository.
func readPage(t *testing.T, name string) page {
	t.Helper()
	text, err := os.ReadFile(repository + "/" + name)
	if err != nil {
		t.Fatalf("reading a page: %v", err)
	}
	p, errs := parse(name, string(text))
	for _, err := range errs {
		t.Error(err)
	}
	return p
}

func TestParse(t *testing.T) {
	const text = "# A page\n\n```sh\necho one\n```\n\n```text\none\n```\n\n" +
		"<!-- not run: it is too far -->\n```sh\ncurl http://example.com\n```\n" +
		"1. A list\n\n   <!-- needs: curl jq -->\n   <!-- terminal: ready -->\n   ```sh\n   qd\n     --x\n   ```\n" +
		"Words between.\n```text\nnot of the block above\n```\n<!-- no block is run: enough -->\n```sh\nfalse\n```\n"
	p, errs := parse("p.md", text)
	for _, err := range errs {
		t.Error(err)
	}
	prints := "one"
	want := []block{
		{line: 4, commands: "echo one", prints: &prints},
		{line: 13, commands: "curl http://example.com", notRun: "it is too far"},
		{line: 20, commands: "qd\n  --x", needs: []string{"curl", "jq"}, terminal: "ready"},
		{line: 29, commands: "false", notRun: "enough"},
	}
	if len(p.blocks) != len(want) {
		t.Fatalf("%d blocks, want %d: %+v", len(p.blocks), len(want), p.blocks)
	}
	for i, b := range p.blocks {
		if got, want := fmt.Sprintf("%+v", printed(b)), fmt.Sprintf("%+v", printed(want[i])); got != want {
			t.Errorf("block %d is\n%s, want\n%s", i, got, want)
		}
	}
}

// printed is b with the text in place of the pointer.
func printed(b block) any {
	text := ""
	if b.prints != nil {
		text = *b.prints
	}
	b.prints = nil
	return []any{b, text}
}

func TestParseComplains(t *testing.T) {
	for name, text := range map[string]string{
		"no language":         "```\necho\n```\n",
		"unknown language":    "```bash\necho\n```\n",
		"comment":             "```sh\necho # why\n```\n",
		"command outside":     "Text:\n\n    build/qd --help\n",
		"repeat without text": "<!-- repeat -->\n```sh\necho\n```\n",
		"no reason":           "<!-- not run -->\n```sh\necho\n```\n",
	} {
		if _, errs := parse("p.md", text); len(errs) != 1 {
			t.Errorf("%s: %d complaints, want one: %v", name, len(errs), errs)
		}
	}
}

func TestAgrees(t *testing.T) {
	for _, c := range []struct {
		want, got string
		agree     bool
	}{
		{"a\nb", "a\nb\n", true},
		{"a", "b\n", false},
		{"a", "a\nb\n", false},
		{"a ... c", "a   b c\n", true},
		{"a ... c", "a b d\n", false},
		{"...\nlast", "one\ntwo\nlast\n", true},
		{"...\nlast", "last\n", true},
		{"...\nlast", "last\nmore\n", false},
		{"x.y", "xzy\n", false},
		{"", "\n", true},
	} {
		if got := agrees(c.want, c.got); got != c.agree {
			t.Errorf("%q for %q: %v, want %v", c.got, c.want, got, c.agree)
		}
	}
}
