package program

import (
	"errors"
	"flag"
	"log/slog"
	"reflect"
	"slices"
	"strings"
)

// Reloaded is what a reload has found different from what the daemon had, by key.
type Reloaded struct {
	// Changed has been changed, and holds from now on. What somebody had changed while
	// the daemon ran is put back, and is here, too.
	Changed []Difference `json:"changed"`
	// NeedsRestart cannot be changed in a running daemon: the next start takes it.
	NeedsRestart []Difference `json:"needs_restart"`
}

// Add adds what one of several daemons has found. names are what its keys are called
// for all of them: what has none nobody can set; nil has them as they are.
func (r *Reloaded) Add(part Reloaded, names map[string]string) {
	r.Changed = add(r.Changed, part.Changed, names)
	r.NeedsRestart = add(r.NeedsRestart, part.NeedsRestart, names)
}

func add(all, part []Difference, names map[string]string) []Difference {
	for _, d := range part {
		if names != nil {
			d.Key = names[d.Key]
		}
		if d.Key != "" && !slices.ContainsFunc(all, func(o Difference) bool { return o.Key == d.Key }) {
			all = append(all, d)
		}
	}
	slices.SortFunc(all, func(a, b Difference) int { return strings.Compare(a.Key, b.Key) })
	return append([]Difference{}, all...) // [] in JSON when there are none
}

// Difference is a setting with another value than before. Values are as a flag would be
// given them; what is secret is hidden.
type Difference struct {
	Key  string `json:"key"`
	From string `json:"from"`
	To   string `json:"to"`
}

// Errors of a reload, and of a change of a setting while the daemon runs.
var (
	ErrNoReread      = errors.New("there is nothing to read the settings from again: this daemon was started by another program")
	ErrEnding        = errors.New("the daemon is ending: the next start reads the settings")
	ErrUnknownOption = errors.New("there is no such setting")
	ErrMalformed     = errors.New("must be an array of strings in JSON")
	ErrNeedsRestart  = errors.New("needs a restart: set it in the config file")
)

// Row is settings that are changed together in a daemon D that runs with settings S.
type Row[D, S any] struct {
	// Keys are as config files have them. A row of none is for files that settings name: it
	// is prepared at each reload, with the settings that hold.
	Keys []string
	// Prepare makes ready what the keys need to be as they are in to, which is valid, and
	// returns what makes the change. It changes nothing itself, and what it has made needs
	// no closing if it is not used: another row may fail. It may read files. apply cannot
	// fail, and waits for nobody. nil: there is nothing to do but to remember the values.
	Prepare func(d D, to *S) (apply func(), err error)
}

// Kind says how settings S are declared and checked.
type Kind[S any] struct {
	Flags    func(s *S, fs *flag.FlagSet)
	Validate func(s *S) error
	Origins  func(s *S) **Origins                // where s keeps them
	Reread   func(s *S) func() (*S, error)       // what main has left there; nil: nothing can be read again
	Together func(s *S) func() (Reloaded, error) // what reloads all daemons of a process that has several; nil: there is one
}

// list is the settings of s, nothing hidden.
func (k Kind[S]) flags(s *S) *flag.FlagSet {
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	k.Flags(s, fs)
	return fs
}

// take copies the values of the keys from one to another.
func (k Kind[S]) take(to, from *S, keys []string) {
	dst, src := Options(k.flags(to)), Options(k.flags(from))
	for i, o := range dst {
		if slices.Contains(keys, o.Key) {
			// A flag's value is the field that it was declared with, under another type.
			reflect.ValueOf(o.Flag.Value).Elem().Set(reflect.ValueOf(src[i].Flag.Value).Elem())
		}
	}
}

// differences are the keys whose values differ.
func (k Kind[S]) differences(from, to *S) (all []Difference) {
	old, next := *from, *to // to declare a flag writes to its field, and others read the settings
	before, after := Options(k.flags(&old)), Options(k.flags(&next))
	for i, o := range before {
		was, is := o.Flag.Value.String(), after[i].Flag.Value.String()
		if was == is {
			continue
		}
		a, b := Setting{Key: o.Key, Value: o.Value(), Text: was}, Setting{Key: o.Key, Value: after[i].Value(), Text: is}
		a.conceal()
		b.conceal()
		all = append(all, Difference{o.Key, a.Text, b.Text})
	}
	return all
}

// TellReload logs how a reload has ended, in a line.
func TellReload(log *slog.Logger, r Reloaded, err error) {
	switch {
	case err != nil:
		log.Error("settings are not reloaded: nothing has changed", "error", err)
	case len(r.NeedsRestart) > 0:
		log.Warn("settings reloaded, but some need a restart", "changed", keysOf(r.Changed), "needs_restart", keysOf(r.NeedsRestart))
	default:
		log.Info("settings reloaded", "changed", keysOf(r.Changed))
	}
}

func keysOf(all []Difference) []string {
	keys := make([]string, len(all))
	for i, d := range all {
		keys[i] = d.Key
	}
	return keys
}
