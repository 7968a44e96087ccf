package program

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// variable is the environment's name for the flag called name: QD_DATA_PATH for qd's
// --data-path. Those of a program's command have the command's name, too.
func variable(fs *flag.FlagSet, name string) string {
	return strings.ToUpper(strings.NewReplacer("-", "_", " ", "_").Replace(fs.Name() + "_" + name))
}

// environment is the process's environment while it is read into flags.
type environment struct {
	fs     *flag.FlagSet
	values map[string]string // by the variables' names; none is empty

	warnings []string
	errs     []error
}

// readEnvironment sets the flags of fs as environ says, which is as os.Environ returns
// it, but for those that have been given. The error tells everything that is wrong with
// it. warnings are lines about what has no effect.
func readEnvironment(fs *flag.FlagSet, environ []string) (warnings []string, err error) {
	e := &environment{fs: fs, values: make(map[string]string)}
	for _, setting := range environ {
		name, value, _ := strings.Cut(setting, "=")
		if value != "" && strings.HasPrefix(name, variable(fs, "")) {
			e.values[name] = value
		}
	}
	given := givenIn(fs)
	used := make(map[string]string) // the variables, by the flags that they have set
	fs.VisitAll(func(f *flag.Flag) {
		name := variable(fs, f.Name)
		value, set := e.values[name]
		if !set || !isSetting(fs, f.Name) || isKey(f) {
			return
		}
		delete(e.values, name)
		f = fs.Lookup(meant(f))
		reason, old := obsolete(f)
		switch other := used[f.Name]; {
		case old:
			e.warnings = append(e.warnings, fmt.Sprintf("%s has no effect: %s", name, reason))
		case given[f.Name]:
		case other != "":
			e.errs = append(e.errs, fmt.Errorf("environment %s: is the same as %s: set one of them", name, other))
		default:
			used[f.Name] = name
			e.set(f, name, value)
		}
	})
	e.guess()
	return e.warnings, errors.Join(e.errs...)
}

func (e *environment) set(f *flag.Flag, name, value string) {
	values := []string{value}
	if r, ok := f.Value.(Repeatable); ok && r.Repeatable() {
		// Where commas are part of a value, lines are all that can divide two.
		values = strings.FieldsFunc(value, func(c rune) bool { return c == '\n' || c == '\r' })
	}
	if err := choose(e.fs, f, values, FromEnvironment, name); err != nil {
		e.errs = append(e.errs, fmt.Errorf("environment %s %q: %s", name, value, refusal(f, kind(f), err)))
	}
}

// ofOthers are the rest of the names of variables that are nobody's mistake: those
// that Kubernetes makes for a service that is called like the program, and an image's
// version.
var ofOthers = regexp.MustCompile(`^(VERSION|SERVICE_HOST|SERVICE_PORT(_.*)?|PORT|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

// minGuess is the least length of a name that is taken for a misspelt one: shorter ones
// are near to anything.
const minGuess = 5

// guess warns of variables that stand for no flag but nearly for one. Others with the
// program's prefix may be anybody's.
func (e *environment) guess() {
	var names []string
	prefix := variable(e.fs, "")
	e.fs.VisitAll(func(f *flag.Flag) {
		if rest := strings.TrimPrefix(variable(e.fs, f.Name), prefix); !hidden(f) && isSetting(e.fs, f.Name) && len(rest) >= minGuess {
			names = append(names, rest)
		}
	})
	for _, name := range slices.Sorted(maps.Keys(e.values)) {
		rest := strings.TrimPrefix(name, prefix)
		if ofOthers.MatchString(rest) || len(rest) < minGuess {
			continue
		}
		if near := closest(rest, names); near != "" {
			e.warnings = append(e.warnings, fmt.Sprintf("environment %s has no effect: is %s%s meant?", name, prefix, near))
		}
	}
}

// givenIn are the names of the flags of fs that have been set by now, in whatever
// spelling.
func givenIn(fs *flag.FlagSet) map[string]bool {
	given := make(map[string]bool)
	fs.Visit(func(f *flag.Flag) { given[meant(f)] = true })
	return given
}
