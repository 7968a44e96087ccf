package signin

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// document is a TOML file that is read by hand, so that everything that is wrong with
// it is told at once, with the line.
type document struct {
	path    string
	lines   []string
	headers map[string][]int // indexes of the lines with a header, by its name
	root    *section
	errs    []complaint
}

// complaint is what is wrong with a line.
type complaint struct {
	line int
	err  error
}

// section is a table of a document. What is asked of it is used; rest complains of
// what is not.
type section struct {
	doc    *document
	name   string // users, oidc or oidc.roles, as in its header; empty for the root
	from   int    // index of its header's line, or of the first line that can be its
	values map[string]any
	used   map[string]bool
}

func parseTOML(path, text string) (*document, error) {
	var values map[string]any
	if _, err := toml.Decode(text, &values); err != nil {
		if bad, ok := errors.AsType[toml.ParseError](err); ok {
			message := bad.Message
			if strings.HasSuffix(bad.LastKey, "password") || strings.HasSuffix(bad.LastKey, "secret") {
				message = "cannot be read: are the quotes right?" // it quotes what it does not understand
			}
			return nil, fmt.Errorf("users-file %s:%d: %s", path, bad.Position.Line, message)
		}
		return nil, fmt.Errorf("users-file %s: %w", path, err)
	}
	d := &document{path: path, lines: strings.Split(text, "\n"), headers: make(map[string][]int)}
	for i, line := range d.lines {
		if m := header.FindStringSubmatch(line); m != nil {
			name := strings.ReplaceAll(m[1], " ", "")
			d.headers[name] = append(d.headers[name], i)
		}
	}
	d.root = d.section("", 0, values)
	return d, nil
}

func (d *document) section(name string, from int, values map[string]any) *section {
	return &section{doc: d, name: name, from: from, values: values, used: make(map[string]bool)}
}

// err is all that was complained of, in the order of lines.
func (d *document) err() error {
	slices.SortStableFunc(d.errs, func(a, b complaint) int { return a.line - b.line })
	var errs []error
	for _, c := range d.errs {
		errs = append(errs, fmt.Errorf("users-file %s:%d: %w", d.path, c.line, c.err))
	}
	return errors.Join(errs...)
}

// rest complains of tables that nobody has asked for.
func (d *document) rest() { d.root.rest() }

var header = regexp.MustCompile(`^[ \t]*\[+[ \t]*([^\]]*?)[ \t]*\]`)

// header returns the line of the nth header that has a name, counted from 0; that of
// the key, or the first, if there is no such header.
func (d *document) header(name string, n int) int {
	if at := d.headers[name]; n < len(at) {
		return at[n]
	}
	return d.root.line(name)
}

// list returns the tables of an array of them.
func (d *document) list(name string) (all []*section) {
	d.root.used[name] = true
	var tables []map[string]any
	switch v := d.root.values[name].(type) {
	case nil:
	case []map[string]any:
		tables = v
	case []any:
		for _, one := range v {
			table, ok := one.(map[string]any)
			if !ok {
				d.root.complain(name, "%s: must be tables, each headed [[%[1]s]]", name)
				return nil
			}
			tables = append(tables, table)
		}
	default:
		d.root.complain(name, "%s: must be tables, each headed [[%[1]s]]", name)
	}
	for i, values := range tables {
		all = append(all, d.section(name, d.header(name, i), values))
	}
	return all
}

// table returns a table; nil if there is none.
func (d *document) table(name string) *section { return d.root.table(name) }

func (s *section) table(key string) *section {
	s.used[key] = true
	switch v := s.values[key].(type) {
	case nil:
		return nil
	case map[string]any:
		name := strings.TrimPrefix(s.name+"."+key, ".")
		return s.doc.section(name, s.doc.header(name, 0), v)
	}
	s.complain(key, "%s: must be a table", key)
	return nil
}

// line is the index of the line that has a key, or that of the section's header. The
// parser does not tell it.
func (s *section) line(key string) int {
	if at := s.doc.headers[key]; s.name == "" && len(at) > 0 {
		return at[0]
	}
	is := regexp.MustCompile(`^[ \t]*["']?` + regexp.QuoteMeta(key) + `["']?[ \t]*[=.]`)
	for i := s.from; i < len(s.doc.lines); i++ {
		if i > s.from && s.name != "" && header.MatchString(s.doc.lines[i]) {
			break
		}
		if is.MatchString(s.doc.lines[i]) {
			return i
		}
	}
	return s.from
}

func (s *section) complain(key, format string, args ...any) {
	s.doc.errs = append(s.doc.errs, complaint{1 + s.line(key), fmt.Errorf(format, args...)})
}

// needed complains if a key is missing, and returns whether it is there.
func (s *section) needed(key string) bool {
	_, there := s.values[key]
	if !there {
		s.complain(key, "[%s] has no %s", s.name, key)
	}
	return there
}

func (s *section) text(key string) string {
	s.used[key] = true
	text, ok := s.values[key].(string)
	if _, there := s.values[key]; there && !ok {
		s.complain(key, "%s: must be a text, in quotes", key)
	}
	return text
}

func (s *section) texts(key string) (all []string) {
	s.used[key] = true
	list, ok := s.values[key].([]any)
	if _, there := s.values[key]; there && !ok {
		s.complain(key, "%s: must be a list of texts", key)
	}
	for _, v := range list {
		text, ok := v.(string)
		if !ok {
			s.complain(key, "%s: must be a list of texts", key)
			return nil
		}
		all = append(all, text)
	}
	return all
}

// role returns the role that a key names, or least if it is not there.
func (s *section) role(key string, least Role) Role {
	text := s.text(key)
	if _, given := s.values[key].(string); !given {
		return least
	}
	role, ok := ParseRole(text)
	if !ok {
		s.complain(key, "%s %q: must be viewer, operator or admin", key, text)
	}
	return role
}

// roles returns a table of roles.
func (s *section) roles(key string) map[string]Role {
	t := s.table(key)
	if t == nil {
		return nil
	}
	roles := make(map[string]Role, len(t.values))
	for _, group := range slices.Sorted(maps.Keys(t.values)) {
		roles[group] = t.role(group, Nobody)
	}
	return roles
}

// rest complains of keys that nobody has asked for.
func (s *section) rest() {
	for _, key := range slices.Sorted(maps.Keys(s.values)) {
		if !s.used[key] {
			known := strings.Join(slices.Sorted(maps.Keys(s.used)), ", ")
			s.complain(key, "unknown key %q: there are %s", key, known)
		}
	}
}
