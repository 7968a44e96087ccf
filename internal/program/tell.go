package program

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/millrace-mq/millrace/internal/program/help"
	"github.com/millrace-mq/millrace/protocol"
)

// as is what the program's user calls it: it may be installed by another name.
func (p Program) as() string { return cmp.Or(p.called, p.Name) }

// tell prints what own asks for, or the help, and returns the exit status.
func (p Program) tell(own *own, fs *flag.FlagSet, std Stdio) int {
	if own.version.asked {
		commit := builtFrom()
		if commit != "" {
			commit = "commit " + commit + ", "
		}
		_, err := fmt.Fprintf(std.Out, "%s v%s (speaks NSQ %s, %sbuilt w/%s)\n", p.Name, Version, protocol.Version, commit, runtime.Version())
		return p.status(fs, std, err)
	}
	page, wrong := p.page(fs, std)
	var text string
	switch {
	case own.manual:
		text = page.Man()
	case own.shell != "":
		var err error
		text, err = page.Completion(string(own.shell))
		wrong = errors.Join(wrong, err)
	default:
		text = page.Text()
	}
	_, err := io.WriteString(std.Out, text)
	return p.status(fs, std, errors.Join(wrong, err))
}

// page is what can be told of the program whose flags are fs. The error is what is wrong
// with what the program says of itself.
func (p Program) page(fs *flag.FlagSet, std Stdio) (page help.Page, err error) {
	page = help.Page{Name: p.as(), Version: Version, Released: Released, Synopsis: p.Synopsis, About: p.About}
	for _, e := range p.Examples {
		page.Examples = append(page.Examples, help.Example{Does: e.Does, Command: p.typed(e.Command)})
	}
	if len(p.Commands) == 0 {
		page.Groups, err = p.groups(fs)
		page.Notes = append(page.Notes, help.Note{Title: "Settings", Text: settingsNote(fs, page.Groups)})
	}
	for _, c := range p.Commands {
		c = p.command(c)
		fs, _, _ := c.flags(std)
		part, wrong := c.page(fs, std)
		page.Commands = append(page.Commands, part)
		err = errors.Join(err, wrong)
	}
	page.Notes = append(page.Notes,
		help.Note{Title: "Exit status", Text: "0 if all that was asked for is done, or a signal ended it in good order; 1 if anything failed, with a line on standard error for each thing that is wrong."},
		help.Note{Title: "Shells", Text: fmt.Sprintf("%[1]s --completion bash (or zsh, or fish) prints what makes the shell complete flags, %[1]s --man the man page.", strings.Fields(p.as())[0])})
	return page, err
}

// typed is the command of an example as the user types it.
func (p Program) typed(command string) string {
	if p.as() == p.Name {
		return command
	}
	word := regexp.MustCompile(`(?m)(^|[|;&(]\s*|[A-Z_]=\S* )` + regexp.QuoteMeta(p.Name) + `\b`)
	return word.ReplaceAllString(command, "${1}"+p.as())
}

// groups are the sections with their flags, and the rest.
func (p Program) groups(fs *flag.FlagSet) (groups []help.Group, err error) {
	rest := make(map[string]bool)
	fs.VisitAll(func(f *flag.Flag) {
		if !hidden(f) && f.Name != manualFlag && f.Name != completionFlag {
			rest[f.Name] = true
		}
	})
	for _, s := range p.Sections {
		g := help.Group{Title: s.Title}
		for _, name := range s.Flags {
			if !rest[name] {
				err = errors.Join(err, fmt.Errorf("the section %q of --help has --%s, which is no flag, or has been listed before", s.Title, name))
				continue
			}
			delete(rest, name)
			g.Flags = append(g.Flags, shown(fs.Lookup(name)))
		}
		groups = append(groups, g)
	}
	g := help.Group{Title: "Flags"}
	if len(groups) > 0 {
		g.Title = "Other flags"
	}
	fs.VisitAll(func(f *flag.Flag) {
		if rest[f.Name] {
			g.Flags = append(g.Flags, shown(f))
		}
	})
	g.Flags = append(g.Flags, help.Flag{Name: "help", Text: "print this and end", Bare: true})
	return append(groups, g), err
}

// shown is f as users see it.
func shown(f *flag.Flag) help.Flag {
	kind, text := flag.UnquoteUsage(f)
	value := f.DefValue
	if _, ok := current(f).(time.Duration); ok {
		kind, value = "duration", brief(value)
	}
	told := strings.Contains(text, "(default") // in words
	if !told && !slices.Contains([]string{"", "0", "false", "0s", "[]"}, value) {
		text += fmt.Sprintf(" (default %s)", value)
	}
	shown := help.Flag{Name: f.Name, Kind: kind, Text: text, Choices: choices(f)}
	if r, ok := f.Value.(Repeatable); ok {
		shown.Repeats = r.Repeatable()
	}
	if b, ok := f.Value.(interface{ IsBoolFlag() bool }); ok {
		shown.Bare = b.IsBoolFlag()
	}
	return shown
}

// brief is a duration as people write it: 5m for 5m0s.
func brief(duration string) string {
	if s, whole := strings.CutSuffix(duration, "m0s"); whole {
		duration = s + "m"
	}
	if s, whole := strings.CutSuffix(duration, "h0m"); whole {
		duration = s + "h"
	}
	return duration
}

// Enumerated is a flag.Value of a few words.
type Enumerated interface {
	flag.Value
	Choices() []string
}

var (
	aside = regexp.MustCompile(` *\([^)]*\)`)
	words = regexp.MustCompile(`(?:^|[:,] )((?:[\w.-]+, )*[\w.-]+,? or [\w.-]+)(?:[;.]|$)`)
)

// choices are the values of f, if they are a few words: those that it tells, or that it
// is said to take, such as in "what is kept: all, some or none".
func choices(f *flag.Flag) []string {
	if e, ok := f.Value.(Enumerated); ok {
		return e.Choices()
	}
	_, text := flag.UnquoteUsage(f)
	if e, ok := f.Value.(Expecting); ok {
		text = e.Expects()
	} else if _, before, found := strings.Cut(text, ": "); found {
		text = before
	} else {
		return nil
	}
	list := words.FindStringSubmatch(aside.ReplaceAllString(text, ""))
	if list == nil {
		return nil
	}
	return strings.Split(strings.NewReplacer(", or ", ", ", " or ", ", ").Replace(list[1]), ", ")
}

// settingsNote says how else than by flags, such as those in groups, the program is told
// its settings.
func settingsNote(fs *flag.FlagSet, groups []help.Group) string {
	example := ""
	for _, g := range groups {
		for _, f := range g.Flags {
			if example == "" && f.Kind != "" && f.Name != configFlag {
				example = f.Name
			}
		}
	}
	if example == "" {
		return "flags may have one dash or two."
	}
	text := fmt.Sprintf("what --%s sets may also be set by %s in the environment", example, variable(fs, example))
	order := ", which counts less than a flag"
	if fs.Lookup(configFlag) != nil {
		key := slices.IndexFunc(Options(fs), func(o Option) bool { return o.Flag.Name == example })
		text += fmt.Sprintf(", or by %s in the --config file", Options(fs)[key].Key)
		order = "; a flag counts more than the environment, and that more than the file"
	}
	return text + order + "." + listsNote(fs) + " Flags may have one dash or two."
}

// listsNote says what divides the values of flags that take several.
func listsNote(fs *flag.FlagSet) string {
	commas, lines := 0, []string{} // those that take commas, and those where they are part of a value
	for _, o := range Options(fs) {
		if _, each := o.Flag.Value.(*Each); each {
			lines = append(lines, "--"+o.Flag.Name)
		} else if r, ok := o.Flag.Value.(Repeatable); ok && r.Repeatable() {
			commas++
		}
	}
	switch {
	case commas == 0 && len(lines) == 0:
		return ""
	case commas == 0:
		return " Where there may be several values, ends of lines divide them."
	case len(lines) == 0:
		return " Where there may be several values, commas or ends of lines divide them."
	}
	return " Where there may be several values, commas or ends of lines divide them; in " + series(lines) + " ends of lines alone."
}

// series is names as a sentence has them.
func series(names []string) string {
	last := len(names) - 1
	if last == 0 {
		return names[0]
	}
	return strings.Join(names[:last], ", ") + " and " + names[last]
}
