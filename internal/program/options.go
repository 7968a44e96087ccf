package program

import (
	"flag"
	"slices"
	"strings"
)

// What a flag is beside its name and value, the flag package has no room for;
// so it is said by how its usage begins.
const (
	aliasUsage    = "the same as --"
	keyUsage      = "the config file's name for --"
	obsoleteUsage = "has no effect: "
)

// Alias makes alias another spelling of the flag called name, which must have
// been declared. Aliases are not listed by --help.
func Alias(fs *flag.FlagSet, alias, name string) {
	fs.Var(fs.Lookup(name).Value, alias, aliasUsage+name)
}

// Key gives the flag called name, which must have been declared, a key in
// config files that is not its name with underscores.
func Key(fs *flag.FlagSet, key, name string) {
	fs.Var(fs.Lookup(name).Value, key, keyUsage+name)
}

// Obsolete says that the flag called name, which must have been declared, is
// accepted for those who have it in a service file, and why it does nothing.
// Whoever gives it is told so in one line. It is not listed by --help.
func Obsolete(fs *flag.FlagSet, name, reason string) {
	fs.Lookup(name).Usage = obsoleteUsage + reason
}

// An Option is a setting as config files and /config know it.
type Option struct {
	Key  string
	Flag *flag.Flag
}

// Options returns what can be set on fs, by key: one for each flag that is
// neither another's spelling nor obsolete.
func Options(fs *flag.FlagSet) []Option {
	keys := make(map[string]string)
	fs.VisitAll(func(f *flag.Flag) {
		if name, ok := strings.CutPrefix(f.Usage, keyUsage); ok {
			keys[name] = f.Name
		}
	})
	var options []Option
	fs.VisitAll(func(f *flag.Flag) {
		if hidden(f) || !isSetting(fs, f.Name) || f.Name == configFlag {
			return
		}
		key, ok := keys[f.Name]
		if !ok {
			key = strings.ReplaceAll(f.Name, "-", "_")
		}
		options = append(options, Option{key, f})
	})
	slices.SortFunc(options, func(a, b Option) int { return strings.Compare(a.Key, b.Key) })
	return options
}

// meant is the name of the flag that f is a spelling of: its own, if it is
// none.
func meant(f *flag.Flag) string {
	for _, prefix := range []string{aliasUsage, keyUsage} {
		if name, ok := strings.CutPrefix(f.Usage, prefix); ok {
			return name
		}
	}
	return f.Name
}

// obsolete reports whether f has no effect, and why.
func obsolete(f *flag.Flag) (reason string, yes bool) {
	return strings.CutPrefix(f.Usage, obsoleteUsage)
}

// isKey reports whether f is there for config files alone.
func isKey(f *flag.Flag) bool { return strings.HasPrefix(f.Usage, keyUsage) }

func hidden(f *flag.Flag) bool {
	_, old := obsolete(f)
	return old || meant(f) != f.Name
}
