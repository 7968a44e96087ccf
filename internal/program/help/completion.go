package help

import (
	"embed"
	"fmt"
	"regexp"
	"strings"
	"text/template"
)

//go:embed completion.bash completion.zsh completion.fish
var scripts embed.FS

var completions = template.Must(template.New("").Funcs(template.FuncMap{
	"join":     strings.Join,
	"function": function,
	"brief":    brief,
	"zsh":      forZsh,
	"fish":     forFish,
	"command":  Page.command,
}).ParseFS(scripts, "completion.*"))

// Completion is a script that has the shell, bash, zsh or fish, complete the commands
// and flags of the program, and the values of those whose values are known.
func (p Page) Completion(shell string) (string, error) {
	var b strings.Builder
	if err := completions.ExecuteTemplate(&b, "completion."+shell, p); err != nil {
		return "", fmt.Errorf("writing the completion for %s: %w", shell, err)
	}
	return b.String(), nil
}

// Paths says which paths the flag takes: files, directories (any path is a file's until
// it is whole), or nothing.
func (f Flag) Paths() string {
	switch f.Kind {
	case "directory", "file":
		return f.Kind
	case "path":
		return "file"
	}
	return ""
}

// Flags are those of all groups.
func (p Page) Flags() (all []Flag) {
	for _, g := range p.Groups {
		all = append(all, g.Flags...)
	}
	return all
}

// Opaque are the names of the flags that have values of which nothing is known, with
// their dashes.
func (p Page) Opaque() (names []string) {
	for _, f := range p.Flags() {
		if f.Kind != "" && f.Paths() == "" && len(f.Choices) == 0 {
			names = append(names, "--"+f.Name)
		}
	}
	return names
}

// Names are those of all flags, with their dashes.
func (p Page) Names() (names []string) {
	for _, f := range p.Flags() {
		names = append(names, "--"+f.Name)
	}
	return names
}

var noLetters = regexp.MustCompile(`[^A-Za-z0-9_]`)

// function is a shell function's name for a program.
func function(name string) string { return "_millrace_" + noLetters.ReplaceAllString(name, "_") }

// brief is the beginning of text, as long as it can be understood by itself.
func brief(text string) string {
	if end := regexp.MustCompile(`[;(]|\. `).FindStringIndex(text); end != nil {
		text = text[:end[0]]
	}
	return strings.TrimSpace(text)
}

// forZsh escapes what stands in single quotes, and there in the brackets or between the
// colons of _arguments.
func forZsh(text string) string {
	return strings.NewReplacer(`\`, `\\`, `[`, `\[`, `]`, `\]`, `:`, `\:`, `'`, `'\''`).Replace(text)
}

// forFish escapes what stands in single quotes.
func forFish(text string) string {
	return strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text)
}
