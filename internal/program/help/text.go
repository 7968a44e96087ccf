package help

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// width is the most columns of a line, as long as its words allow.
const width = 92

// Text is what --help prints.
func (p Page) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s - %s\n\nUsage: %s %s\n", p.Name, p.Synopsis, p.Name, p.usage())
	for part, verbatim := range paragraphs(p.About) {
		b.WriteByte('\n')
		if verbatim {
			b.WriteString(part + "\n")
		} else {
			wrap(&b, part, "")
		}
	}
	for i, e := range p.Examples {
		if i == 0 {
			b.WriteString("\nExamples:\n")
		} else {
			b.WriteByte('\n')
		}
		wrap(&b, e.Does+":", "  ")
		for line := range strings.Lines(e.Command) {
			b.WriteString("      " + strings.TrimRight(line, "\n") + "\n")
		}
	}
	if len(p.Commands) > 0 {
		fmt.Fprintf(&b, "\nCommands (%s COMMAND --help lists the flags of one):\n", p.Name)
	}
	for _, c := range p.Commands {
		fmt.Fprintf(&b, "  %s\n", c.command())
		wrap(&b, c.Synopsis, "        ")
	}
	for _, g := range p.Groups {
		fmt.Fprintf(&b, "\n%s:\n", g.Title)
		for _, f := range g.Flags {
			fmt.Fprintf(&b, "  %s\n", strings.TrimRight("--"+f.Name+" "+f.Kind, " "))
			wrap(&b, f.Text, "        ")
		}
	}
	for _, n := range p.Notes {
		b.WriteByte('\n')
		wrap(&b, n.Title+": "+n.Text, "")
	}
	return b.String()
}

// wrap writes the words of text in lines that begin with indent.
func wrap(b *strings.Builder, text, indent string) {
	column := 0
	for word := range strings.FieldsSeq(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case column == 0:
			b.WriteString(indent)
			column = len(indent)
		case column+1+n > width:
			b.WriteString("\n" + indent)
			column = len(indent)
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += n
	}
	b.WriteByte('\n')
}
