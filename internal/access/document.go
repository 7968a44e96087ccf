package access

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/millrace-mq/millrace/internal/program"
)

// document is an access file as it is read, by hand, so that everything that is wrong
// with it is told at once, with the line.
type document struct {
	path    string
	lines   []string
	headers map[string][]int // indexes of the lines with a header, by its name
	values  map[string]any
	errs    []complaint
}

// complaint is what is wrong with a line, counted from 0.
type complaint struct {
	line int
	text string
}

// section is one of the tables. What is asked of it is used; rest complains of what
// is not.
type section struct {
	doc    *document
	name   string // token, certificate or rule
	from   int    // index of its header's line
	values map[string]any
	used   []string
}

var header = regexp.MustCompile(`^[ \t]*\[+[ \t]*([^\]]*?)[ \t]*\]`)

func parseDocument(path, text string) (*document, error) {
	d := &document{path: path, lines: strings.Split(text, "\n"), headers: make(map[string][]int)}
	if _, err := toml.Decode(text, &d.values); err != nil {
		if bad, ok := errors.AsType[toml.ParseError](err); ok {
			message := bad.Message
			if bad.LastKey != "" {
				// The parser quotes what it does not understand, and somebody may have
				// put a token there.
				message = fmt.Sprintf("what is behind %s cannot be read: are the quotes right?", short(bad.LastKey))
			}
			return nil, fmt.Errorf("access-file %s:%d: %s", path, bad.Position.Line, message)
		}
		return nil, fmt.Errorf("access-file %s: %w", path, err)
	}
	for i, line := range d.lines {
		if m := header.FindStringSubmatch(line); m != nil {
			d.headers[m[1]] = append(d.headers[m[1]], i)
		}
	}
	return d, nil
}

// err is all that was complained of, in the order of lines.
func (d *document) err() error {
	slices.SortStableFunc(d.errs, func(a, b complaint) int { return a.line - b.line })
	var errs []error
	for _, c := range d.errs {
		errs = append(errs, fmt.Errorf("access-file %s:%d: %s", d.path, c.line+1, c.text))
	}
	if d.full() {
		errs = append(errs, fmt.Errorf("access-file %s: that is not all that is wrong", d.path))
	}
	return errors.Join(errs...)
}

func (d *document) complain(line int, format string, args ...any) {
	if !d.full() {
		d.errs = append(d.errs, complaint{line, fmt.Sprintf(format, args...)})
	}
}

// maxComplaints is how many are told. A file that is no access file could have a
// million, and what to suggest takes time for each.
const maxComplaints = 100

func (d *document) full() bool { return len(d.errs) >= maxComplaints }

// only complains of everything at the top that is not one of the names.
func (d *document) only(names ...string) {
	for _, key := range slices.Sorted(maps.Keys(d.values)) {
		if d.full() {
			return
		}
		if !slices.Contains(names, key) {
			d.complain(d.top(key), "unknown key %q: %s", short(key), suggestion(key, names, "[[%s]]"))
		}
	}
}

// suggestion is what to write instead of name, which is none of names.
func suggestion(name string, names []string, form string) string {
	if near := program.Closest(short(name), names); near != "" {
		return "is " + fmt.Sprintf(form, near) + " meant?"
	}
	var all []string
	for _, n := range names {
		all = append(all, fmt.Sprintf(form, n))
	}
	return "there are " + strings.Join(all, ", ")
}

// short is a text of the file as it is told.
func short(text string) string {
	if len(text) > maxPattern {
		return strings.ToValidUTF8(text[:maxPattern], "") + "…"
	}
	return text
}

// line is the index of the line from from on, up to the next header, that has a key;
// from if there is none. The parser does not tell it.
func (d *document) line(key string, from int) int {
	for i := from; i < len(d.lines); i++ {
		if i > from && header.MatchString(d.lines[i]) {
			break
		}
		name, _, found := strings.Cut(d.lines[i], "=")
		if found && strings.Trim(name, " \t\"'") == key {
			return i
		}
	}
	return from
}

// top is the index of the line of a key that is in no table.
func (d *document) top(key string) int {
	if at := d.headers[key]; len(at) > 0 {
		return at[0]
	}
	return d.line(key, 0)
}

// sections returns the tables of an array of them.
func (d *document) sections(name string) (all []*section) {
	value, there := d.values[name]
	tables, ok := value.([]map[string]any)
	if there && !ok {
		d.complain(d.top(name), "%s: must be tables, each headed [[%[1]s]]", name)
	}
	for i, values := range tables {
		s := &section{doc: d, name: name, values: values}
		if at := d.headers[name]; i < len(at) {
			s.from = at[i]
		}
		all = append(all, s)
	}
	return all
}

func (s *section) complain(key, format string, args ...any) {
	s.doc.complain(s.doc.line(key, s.from), format, args...)
}

func (s *section) use(key string) (value any, there bool) {
	s.used = append(s.used, key)
	value, there = s.values[key]
	return value, there
}

// text returns the text of a key; empty if it is not there.
func (s *section) text(key string) string {
	value, there := s.use(key)
	text, ok := value.(string)
	if there && !ok {
		s.complain(key, "%s: must be a text, in quotes", key)
	}
	return text
}

// needed is text, which must be there; if it is not, that is complained of.
func (s *section) needed(key, why string) (text string, there bool) {
	if _, there = s.values[key]; !there {
		s.complain(key, "[[%s]] has no %s: %s", s.name, key, why)
	}
	return s.text(key), there
}

// texts returns the list of a key; nil if it is not there.
func (s *section) texts(key string) (all []string) {
	value, there := s.use(key)
	list, ok := value.([]any)
	for _, v := range list {
		text, isText := v.(string)
		ok = ok && isText
		all = append(all, text)
	}
	switch {
	case there && !ok:
		s.complain(key, "%s: must be a list of texts, such as [\"a\", \"b\"]", key)
		return nil
	case there && len(all) == 0:
		s.complain(key, "%s: is empty", key)
	}
	return all
}

// time returns the date or time of a key; a date without a zone begins in UTC.
func (s *section) time(key string) (at time.Time) {
	value, there := s.use(key)
	at, ok := value.(time.Time)
	if there && !ok {
		s.complain(key, "%s: must be a date, or a time with its zone, without quotes: 2027-01-01 or 2027-01-01T12:00:00Z", key)
		return at
	}
	switch at.Location().String() {
	case "date-local", "datetime-local":
		at = time.Date(at.Year(), at.Month(), at.Day(), at.Hour(), at.Minute(), at.Second(), at.Nanosecond(), time.UTC)
	case "time-local":
		s.complain(key, "%s: must have a date, not only a time of day", key)
	}
	return at
}

// rest complains of keys that nobody has asked for.
func (s *section) rest() {
	for _, key := range slices.Sorted(maps.Keys(s.values)) {
		if s.doc.full() {
			return
		}
		if !slices.Contains(s.used, key) {
			s.complain(key, "unknown key %q in [[%s]]: %s", short(key), s.name, suggestion(key, s.used, "%s"))
		}
	}
}
