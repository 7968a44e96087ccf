package program

import (
	"errors"
	"flag"
	"slices"
	"strconv"
	"strings"
)

// The flags that every program has. They are no settings, nor are those of Checkable.
const (
	versionFlag    = "version"
	manualFlag     = "man"
	completionFlag = "completion"
)

func everyPrograms(name string) bool {
	return name == versionFlag || name == manualFlag || name == completionFlag || name == checkFlag || name == printFlag
}

// own are the values of these flags.
type own struct {
	version ledger
	manual  bool
	shell   shell
}

func declareOwn(fs *flag.FlagSet) *own {
	o := new(own)
	fs.Var(&o.version, versionFlag, "print the version and end")
	fs.BoolVar(&o.manual, manualFlag, false, "print the man page and end")
	fs.Var(&o.shell, completionFlag, "print what makes a `shell` complete the flags and end: bash, zsh or fish")
	return o
}

// tells reports whether something is to be told, and then nothing done.
func (o *own) tells() bool { return o.version.asked || o.manual || o.shell != "" }

// ledger is the value of --version, and remembers who has set the flags that the
// command line has not: whoever asks where a setting comes from has the flags and no
// more.
type ledger struct {
	asked bool
	by    map[string]Source // by the flags' names
	where map[string]string // which variable, which line of which file
	args  []string          // the command line that Run was given
	acts  map[string]bool   // flags that are no settings: what is done instead
}

// String implements flag.Value.
func (l *ledger) String() string { return strconv.FormatBool(l.asked) }

// Set implements flag.Value.
func (l *ledger) Set(v string) (err error) {
	l.asked, err = strconv.ParseBool(v)
	return err
}

// Get implements flag.Getter.
func (l *ledger) Get() any { return l.asked }

// IsBoolFlag has the flag package take it without a value.
func (l *ledger) IsBoolFlag() bool { return true }

// Instead says that the flag called name is no setting but has something else done than
// what the program is for. It is not taken from the environment, nor from a config file.
func Instead(fs *flag.FlagSet, name string) {
	if l := ledgerOf(fs); l != nil {
		if l.acts == nil {
			l.acts = make(map[string]bool)
		}
		l.acts[name] = true
	}
}

// isSetting reports whether the flag called name is a setting of fs.
func isSetting(fs *flag.FlagSet, name string) bool {
	l := ledgerOf(fs)
	return !everyPrograms(name) && (l == nil || !l.acts[name])
}

// choose sets f as source says, and where in it; values are several, or none, if it is a
// list.
func choose(fs *flag.FlagSet, f *flag.Flag, values []string, source Source, where string) error {
	if l := ledgerOf(fs); l != nil {
		if l.by == nil {
			l.by, l.where = make(map[string]Source), make(map[string]string)
		}
		l.by[f.Name], l.where[f.Name] = source, where
	}
	for _, v := range values {
		if err := fs.Set(f.Name, v); err != nil {
			return err
		}
	}
	return nil
}

// ledgerOf is nil for flags that are no program's.
func ledgerOf(fs *flag.FlagSet) *ledger {
	f := fs.Lookup(versionFlag)
	if f == nil {
		return nil
	}
	l, _ := f.Value.(*ledger)
	return l
}

// shell is the value of --completion.
type shell string

var shells = []string{"bash", "zsh", "fish"}

// String implements flag.Value.
func (s *shell) String() string { return string(*s) }

// Set implements flag.Value.
func (s *shell) Set(v string) error {
	if !slices.Contains(shells, v) {
		return errors.New("must be " + s.Expects())
	}
	*s = shell(v)
	return nil
}

// Expects implements Expecting.
func (s *shell) Expects() string { return strings.Join(shells[:2], ", ") + " or " + shells[2] }

// Choices are what there is.
func (s *shell) Choices() []string { return shells }
