// Package fields looks into bodies that are JSON objects: which have a field, with a value
// maybe, and what is left of them when only some fields are kept. It has no I/O and keeps
// nothing of what it is given.
//
// A field is named by the names on the way to it, joined by dots: "user.id" is the field id
// of the object in the field user, and also a field at the top that is called so. Arrays are
// not gone into. When a body has several fields of one name, the last one counts, as for most
// readers of JSON.
package fields

import (
	"errors"
	"strings"
)

// ErrNotObject says that a body is JSON, but no object: it has no fields.
var ErrNotObject = errors.New("the body is no JSON object")

// A Condition is a field that a body must have.
type Condition struct {
	Field string // as the package comment says; not empty

	// Value, unless Any is set, is what the field must have: a string that is equal to it,
	// a number of the same value however it is written, or true, false or null.
	Value string
	Any   bool // the field may have any value, null too
}

// Parse makes a Condition of "field=value", or of "field" alone, for any value. What is
// before the first = is the field.
func Parse(text string) (Condition, error) {
	field, value, given := strings.Cut(text, "=")
	if field == "" {
		return Condition{}, errors.New("must be a field's name, or field=value")
	}
	return Condition{Field: field, Value: value, Any: !given}, nil
}

// Filter is Conditions that all have to be met. The zero value lets everything pass that
// is a JSON object. A Filter may be used by several goroutines at once.
type Filter []Condition

// Match reports whether body meets all conditions. The error says why it is not a JSON
// object: what is not valid JSON to its end meets no condition.
func (f Filter) Match(body []byte) (bool, error) {
	s := scanners.Get().(*scanner)
	defer s.release()
	s.start(body)
	s.filter = f
	for i := range f {
		s.met = append(s.met, false)
		s.sought = append(s.sought, sought{index: i, rest: f[i].Field})
	}
	if err := s.whole((*scanner).match); err != nil {
		return false, err
	}
	for _, met := range s.met {
		if !met {
			return false, nil
		}
	}
	return true, nil
}

// Append appends to dst what is left of the object in body when only the fields named are
// kept: in the order in which they are there, each value byte for byte as it is, so that numbers
// lose nothing. An object of which nothing is kept is left out, but for the whole: that is {}.
// The error says why body is not a JSON object; then dst is returned as it was.
func Append(dst, body []byte, names []string) ([]byte, error) {
	s := scanners.Get().(*scanner)
	defer s.release()
	s.start(body)
	for i, name := range names {
		s.sought = append(s.sought, sought{index: i, rest: name})
	}
	s.out = append(dst, '{')
	err := s.whole((*scanner).keep)
	out := append(s.out, '}')
	s.out = nil // it is the caller's
	if err != nil {
		return dst, err
	}
	return out, nil
}
