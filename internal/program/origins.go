package program

import (
	"encoding"
	"flag"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// Source says who has decided on a setting's value.
type Source string

// The sources.
const (
	FromDefault     Source = "default" // nobody
	FromFlag        Source = "flag"
	FromEnvironment Source = "environment"
	FromFile        Source = "file"    // the one that --config names
	AtRuntime       Source = "runtime" // somebody changed it while the program ran
)

// Setting is one of a program's settings, as GET /config lists it.
type Setting struct {
	Key string `json:"key"` // as in config files
	// Value and Default are as /config/KEY tells them: durations in nanoseconds,
	// lists as such, levels and versions as NSQ's numbers.
	Value   any    `json:"value"`
	Default any    `json:"default"`
	Source  Source `json:"source"`
	// Text and DefaultText are the same as a flag would be given them.
	Text        string `json:"text"`
	DefaultText string `json:"default_text"`
	// Reloadable says that a reload changes it, and PUT /config/KEY; else a restart does.
	Reloadable bool `json:"reloadable,omitempty"`
}

// Origins are where the settings of a program come from, by key. None are known
// to the zero Origins, nor to nil.
type Origins struct{ of map[string]origin }

type origin struct {
	value  any // by default
	text   string
	source Source
}

// OriginsOf says where the settings of fs come from. It is called when all flags are
// declared and hold their defaults; what it returns, when Run has read the command
// line, the environment and the config file.
func OriginsOf(fs *flag.FlagSet) func() *Origins {
	o := &Origins{make(map[string]origin)}
	for _, option := range Options(fs) {
		o.of[option.Key] = origin{option.Value(), option.Flag.Value.String(), FromDefault}
	}
	return func() *Origins {
		for name, source := range sources(fs) {
			known := o.of[name]
			known.source = source
			o.of[name] = known
		}
		return o
	}
}

// sources says who has set what of fs, by key.
func sources(fs *flag.FlagSet) map[string]Source {
	by := make(map[string]Source) // flags' names
	fs.Visit(func(f *flag.Flag) { by[meant(f)] = FromFlag })
	if l := ledgerOf(fs); l != nil {
		maps.Copy(by, l.by) // what the command line has not said
	}
	all := make(map[string]Source)
	for _, option := range Options(fs) {
		if source, ok := by[option.Flag.Name]; ok {
			all[option.Key] = source
		}
	}
	return all
}

// Renamed is what is known of some settings under other keys: those that a part of
// the program has for them. keys are by the new ones.
func (o *Origins) Renamed(keys map[string]string) *Origins {
	named := &Origins{make(map[string]origin)}
	for to, from := range keys {
		if known, ok := o.of[from]; ok {
			named.of[to] = known
		}
	}
	return named
}

// List returns what can be set on fs, by key, which holds the values. Of a setting
// whose origin is not known nobody could choose the value: it is the default. What
// is secret is not shown.
func (o *Origins) List(fs *flag.FlagSet) (all []Setting) {
	for _, option := range Options(fs) {
		s := Setting{Key: option.Key, Value: option.Value(), Text: option.Flag.Value.String(), Source: FromDefault}
		s.Default, s.DefaultText = s.Value, s.Text
		if o != nil {
			if known, ok := o.of[s.Key]; ok {
				s.Default, s.DefaultText, s.Source = known.value, known.text, known.source
			}
		}
		s.conceal()
		all = append(all, s)
	}
	return all
}

const logLevelKey = "log_level"

const concealed = "***"

// conceal hides what is secret: keys and tokens, those in URLs too. That there is
// something is shown.
func (s *Setting) conceal() {
	hide := publicPart
	if strings.HasSuffix(s.Key, "_endpoint") {
		hide = hostAlone
	}
	if slices.ContainsFunc([]string{"_key", "_token", "_secret", "_password"}, func(end string) bool { return strings.HasSuffix(s.Key, end) }) {
		hide = func(text string) string {
			if text == "" {
				return ""
			}
			return concealed
		}
	}
	s.Value, s.Text = concealIn(s.Value, s.Text, hide)
	s.Default, s.DefaultText = concealIn(s.Default, s.DefaultText, hide)
}

func concealIn(value any, text string, hide func(string) string) (any, string) {
	switch v := value.(type) {
	case string:
		return hide(v), hide(text)
	case []string:
		shown := make([]string, len(v))
		for i := range v {
			shown[i] = hide(v[i])
		}
		return shown, strings.Join(shown, ",")
	}
	return value, text
}

// publicPart is text or, if it is a URL, that without what may be secret in it.
func publicPart(text string) string {
	if !strings.Contains(text, "://") {
		return text
	}
	u, err := url.Parse(text)
	if err != nil {
		return concealed
	}
	scheme, rest, _ := strings.Cut((&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String(), "://")
	if u.User != nil {
		rest = concealed + "@" + rest
	}
	if u.RawQuery != "" || u.Fragment != "" {
		rest += "?" + concealed
	}
	return scheme + "://" + rest
}

// hostAlone is the public part of the URL of a webhook: of many, whoever knows the path
// may post.
func hostAlone(text string) string {
	scheme, rest, isURL := strings.Cut(publicPart(text), "://")
	if !isURL {
		return publicPart(text)
	}
	host, path, _ := strings.Cut(rest, "/")
	if path != "" {
		host += "/" + concealed
	}
	return scheme + "://" + host
}

// Value is the value as /config tells it: durations are time.Duration, lists slices,
// and what NSQ has numbers for are these numbers.
func (o Option) Value() any {
	v := current(o.Flag)
	if o.Key == logLevelKey {
		if l, err := ParseLevel(o.Flag.Value.String()); err == nil {
			return LevelNumber(l)
		}
	}
	if _, word := v.(encoding.TextMarshaler); word {
		return o.Flag.Value.String()
	}
	return v
}
