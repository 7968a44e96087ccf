package program

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

const (
	checkFlag = "check-config"
	printFlag = "print-config"
)

// Checkable declares --check-config and --print-config on fs, of a daemon. validate says
// all that is wrong with the settings; files what is wrong with the files that they name,
// and is asked only if validate has no complaint. Neither starts or writes anything.
func Checkable(fs *flag.FlagSet, validate, files func() error) {
	fs.Var(&checked{validate: validate, files: files}, checkFlag, "say what is wrong with the settings and the files that they name, start nothing, and end: with 0 if nothing is")
	fs.Bool(printFlag, false, "print all settings, and where each comes from, as a file for --config, start nothing, and end")
}

// checked is the value of --check-config.
type checked struct {
	ledger
	validate, files func() error
}

// checkedOf is nil for flags of which nothing can be checked.
func checkedOf(fs *flag.FlagSet) *checked {
	f := fs.Lookup(checkFlag)
	if f == nil {
		return nil
	}
	c, _ := f.Value.(*checked)
	return c
}

// complaints joins what is wrong with the values to err, what has been wrong with
// reading them: all complaints come at once.
func (c *checked) complaints(err error) error {
	if c == nil || err == nil {
		return err
	}
	return errors.Join(err, further(err, c.validate()))
}

// further is wrong, what there is to say of the values, but for what is about a setting
// that err has said something of: it has some value then that nobody gave it.
func further(err, wrong error) error {
	if wrong == nil {
		return nil
	}
	said := flagNames.FindAllString(strings.ToLower(strings.ReplaceAll(err.Error(), "_", "-")), -1)
	var errs []error
	for line := range strings.Lines(wrong.Error()) {
		names := flagNames.FindAllString(line, -1)
		if !slices.ContainsFunc(names, func(name string) bool {
			return (name == names[0] || strings.Contains(name, "-")) && slices.Contains(said, name)
		}) {
			errs = append(errs, errors.New(strings.TrimSuffix(line, "\n")))
		}
	}
	return errors.Join(errs...)
}

// flagNames finds what may be the name of a flag. Those of one word are names only where a
// complaint begins.
var flagNames = regexp.MustCompile(`[a-z0-9]+(-[a-z0-9]+)*`)

// inspect does what --check-config and --print-config ask for, err being what is wrong so
// far. It reports whether they ask for anything.
func (c *checked) inspect(fs *flag.FlagSet, out io.Writer, err error) (asked bool, wrong error) {
	if c == nil || !c.asked && fs.Lookup(printFlag).Value.String() != "true" {
		return false, err
	}
	if err == nil {
		err = c.validate()
	}
	if err == nil && c.asked {
		err = c.files()
	}
	if err != nil {
		return true, err
	}
	text := fs.Name() + ": nothing is wrong with the settings\n"
	if fs.Lookup(printFlag).Value.String() == "true" {
		if text, err = printed(fs); err != nil {
			return true, err
		}
	}
	_, err = io.WriteString(out, text)
	return true, err
}

// printed is the settings of fs as a config file, from which a program gets the same
// ones. What is secret stands there as a comment.
func printed(fs *flag.FlagSet) (string, error) {
	var b strings.Builder
	var errs []error
	fmt.Fprintf(&b, "# Settings of %s %s, and where each comes from. What is shown as %s is secret: the file it goes to must have it.\n", fs.Name(), Version, concealed)
	froms := origined(fs)
	for _, o := range Options(fs) {
		from := froms[o.Flag.Name]
		value := written(o.Flag)
		shown := Setting{Key: o.Key, Value: o.Value(), Text: o.Flag.Value.String()}
		if kind, _ := flag.UnquoteUsage(o.Flag); kind != "file" { // whose name is no secret
			shown.conceal()
		}
		if shown.Text != o.Flag.Value.String() {
			fmt.Fprintf(&b, "# %s = %q # %s\n", o.Key, shown.Text, from)
			continue
		}
		text, err := toml.Marshal(map[string]any{o.Key: value})
		if err == nil && !utf8.Valid(text) {
			err = errors.New("is not UTF-8, which files in TOML must be")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", o.Flag.Name, err))
			continue
		}
		fmt.Fprintf(&b, "%s # %s\n", strings.TrimSuffix(string(text), "\n"), from)
	}
	return b.String(), errors.Join(errs...)
}

// written is the value of f as a config file has it.
func written(f *flag.Flag) any {
	switch v := current(f).(type) {
	case time.Duration:
		return v.String() // a number would be milliseconds
	case bool, int, int64, uint, uint64, float64, []float64:
		if e, words := f.Value.(Expecting); !words || e == nil {
			return v
		}
	case []string:
		return v
	}
	return f.Value.String()
}

// origined says in words where the values of the flags come from.
func origined(fs *flag.FlagSet) map[string]string {
	from := make(map[string]string)
	for _, o := range Options(fs) {
		from[o.Flag.Name] = string(FromDefault)
	}
	fs.Visit(func(f *flag.Flag) { from[meant(f)] = string(FromFlag) })
	if l := ledgerOf(fs); l != nil {
		for name, source := range l.by {
			from[name] = strings.TrimSpace(string(source) + " " + l.where[name])
		}
	}
	return from
}

// oneLine is text as a comment may have it.
func oneLine(text string) string {
	if strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c == 0x7f || c == utf8.RuneError }) {
		return fmt.Sprintf("%q", text)
	}
	return text
}
