package program

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
)

// parse sets the flags of fs as the command line says, by the rules of package
// flag, which stops at the first thing that is wrong: the error here tells all
// of them. It is flag.ErrHelp if the flags are to be listed.
func parse(fs *flag.FlagSet, args []string) error {
	var errs []error
	complain := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	unknown := false // the flag before: this word may be its value
	for len(args) > 0 {
		word := args[0]
		args = args[1:]
		name, value, given := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(word, "-"), "-"), "=")
		if name == "" || word[0] != '-' {
			if !unknown {
				complain("unexpected argument %q: settings are given as flags (%s --help lists them)", word, fs.Name())
			}
			unknown = false
			continue
		}
		f := fs.Lookup(name)
		if unknown = f == nil; unknown {
			if name == "h" || name == "help" {
				return flag.ErrHelp
			}
			word, _, _ = strings.Cut(word, "=") // what follows may be secret
			complain("unknown flag %s: %s", word, instead(fs, name))
			continue
		}
		switch boolean, ok := f.Value.(interface{ IsBoolFlag() bool }); {
		case given:
		case ok && boolean.IsBoolFlag():
			value = "true"
		case len(args) == 0:
			complain("%s: must have a value, %s", name, kind(f))
			continue
		default:
			value, args = args[0], args[1:]
		}
		if err := fs.Set(name, value); err != nil {
			complain("%s %q: %s", name, value, refusal(f, kind(f), err))
		}
	}
	return errors.Join(errs...)
}

// instead says what can be done about a flag that there is not.
func instead(fs *flag.FlagSet, name string) string {
	var names []string
	fs.VisitAll(func(f *flag.Flag) {
		if !hidden(f) {
			names = append(names, f.Name)
		}
	})
	if near := closest(name, names); near != "" {
		return fmt.Sprintf("is --%s meant?", near)
	}
	return fs.Name() + " --help lists the flags"
}

// closest is the one of names that was probably meant by name, or nothing.
func closest(name string, names []string) string {
	best, least := "", max(2, len(name)/4)+1
	for _, n := range names {
		if d := distance(name, n); d < least {
			best, least = n, d
		}
	}
	return best
}

// distance is how many letters must be put in, taken out or exchanged to make
// b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			exchange := diagonal
			if a[i] != b[j] {
				exchange++
			}
			diagonal = row[j+1]
			row[j+1] = slices.Min([]int{exchange, row[j] + 1, row[j+1] + 1})
		}
	}
	return row[len(b)]
}
