package help

import (
	"fmt"
	"strings"
)

// Man is the man page, for section 1, in the macros of man(7).
func (p Page) Man() string {
	var m man
	m.line(".TH", quoted(strings.ToUpper(p.Name)), "1", `"`+p.Released+`"`, quoted("Millrace "+p.Version), quoted("Millrace"))
	m.heading("NAME")
	m.text(p.Name + " - " + p.Synopsis)
	m.heading("SYNOPSIS")
	m.line(".B", quoted(p.Name))
	m.text(p.usage())
	if p.About != "" {
		m.heading("DESCRIPTION")
	}
	m.about(p.About)
	m.examples(p.Examples)
	if len(p.Commands) > 0 {
		m.heading("COMMANDS")
	}
	for _, c := range p.Commands {
		m.line(".SS", quoted(c.Name))
		m.text(c.Synopsis)
		if c.About != "" {
			m.line(".PP")
		}
		m.about(c.About)
		for _, g := range c.Groups {
			m.flags(g)
		}
	}
	if len(p.Groups) > 0 {
		m.heading("OPTIONS")
	}
	for _, g := range p.Groups {
		m.line(".SS", quoted(g.Title))
		m.flags(g)
	}
	for _, n := range p.Notes {
		m.heading(strings.ToUpper(n.Title))
		m.text(n.Text)
	}
	return m.String()
}

// man is a man page that is being written.
type man struct{ strings.Builder }

// line writes a line for the formatter, whose arguments are escaped already.
func (m *man) line(words ...string) { _, _ = m.WriteString(strings.Join(words, " ") + "\n") }

func (m *man) heading(title string) { m.line(".SH", quoted(title)) }

// text writes words to be filled.
func (m *man) text(text string) {
	for line := range strings.Lines(strings.TrimSpace(text)) {
		m.line(plain(strings.TrimSpace(line)))
	}
}

func (m *man) about(text string) {
	first := true // a heading needs no break after it
	for part, verbatim := range paragraphs(text) {
		if !first {
			m.line(".PP")
		}
		first = false
		if verbatim {
			m.verbatim(part)
		} else {
			m.text(part)
		}
	}
}

func (m *man) examples(examples []Example) {
	for i, e := range examples {
		if i == 0 {
			m.heading("EXAMPLES")
		} else {
			m.line(".PP")
		}
		m.text(e.Does + ":")
		m.line(".PP")
		m.verbatim(e.Command)
	}
}

func (m *man) verbatim(text string) {
	m.line(".RS 4")
	m.line(".nf")
	for line := range strings.Lines(text) {
		m.line(plain(strings.TrimRight(line, "\n")))
	}
	m.line(".fi")
	m.line(".RE")
}

func (m *man) flags(g Group) {
	for _, f := range g.Flags {
		m.line(".TP")
		head := `\fB` + escaped("--"+f.Name) + `\fR`
		if f.Kind != "" {
			head += ` \fI` + escaped(f.Kind) + `\fR`
		}
		m.line(head)
		m.text(f.Text)
	}
}

// Characters that mean something to the formatter, or that it prints as others.
var special = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`)

func escaped(text string) string {
	var b strings.Builder
	for _, c := range special.Replace(text) {
		if c < 0x80 {
			b.WriteRune(c)
		} else {
			fmt.Fprintf(&b, `\[u%04X]`, c)
		}
	}
	return b.String()
}

// plain is a line of text. What it begins with must not make it one for the formatter;
// an empty one would be a paragraph's end by itself.
func plain(text string) string {
	if text == "" || text[0] == '.' {
		text = `\&` + escaped(text)
		return text
	}
	return escaped(text)
}

// quoted is an argument of a macro.
func quoted(text string) string {
	return `"` + strings.ReplaceAll(escaped(text), `"`, `\(dq`) + `"`
}
