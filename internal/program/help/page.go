// Package help tells what a program is and which flags it has: to who asks for --help,
// as a man page, and to the shells that complete its flags. All of it is made of one
// Page, so that no two of them differ.
package help

import "strings"

// Page is what is told of a program, or of one of its commands.
type Page struct {
	Name     string // as it is called; of a command, the program's name and its own
	Version  string
	Released string // the day of it, as 2006-01-02
	Synopsis string // what it does, in a line
	About    string // paragraphs, with empty lines between; those whose lines begin with a space are left as they are
	Examples []Example
	Groups   []Group
	Notes    []Note
	Commands []Page // whose names are the first argument; a program that has some has no flags of its own
}

// Example is a command, of a line or more, and what it does.
type Example struct{ Does, Command string }

// Group is some flags that belong together.
type Group struct {
	Title string
	Flags []Flag
}

// Flag is a flag as users see it.
type Flag struct {
	Name    string
	Kind    string // what stands for its value; empty if it has none
	Text    string // what it means, and its default
	Choices []string
	Repeats bool
	Bare    bool // may be given without a value; if it has one, = stands between
}

// Note is a paragraph that comes after the flags.
type Note struct{ Title, Text string }

// command is the word that a command's page is asked for by.
func (p Page) command() string { return p.Name[strings.LastIndexByte(p.Name, ' ')+1:] }

// usage is how the program is called.
func (p Page) usage() (args string) {
	if len(p.Commands) > 0 {
		return "COMMAND [flags]"
	}
	return "[flags]"
}

// paragraphs are the parts of text, with whether a part is to be left as it is.
func paragraphs(text string) func(yield func(paragraph string, verbatim bool) bool) {
	return func(yield func(string, bool) bool) {
		for part := range strings.SplitSeq(strings.Trim(text, "\n"), "\n\n") {
			if part != "" && !yield(part, part[0] == ' ' || part[0] == '\t') {
				return
			}
		}
	}
}
