package program

import "strings"

// Strings is a flag that may be given several times, or once with commas.
type Strings []string

// String returns the values, comma-separated.
func (s *Strings) String() string { return strings.Join(*s, ",") }

// Set adds the values in v.
func (s *Strings) Set(v string) error {
	for part := range strings.SplitSeq(v, ",") {
		if part = strings.TrimSpace(part); part != "" {
			*s = append(*s, part)
		}
	}
	return nil
}

// Get returns the values; none is an empty list.
func (s *Strings) Get() any { return append([]string{}, *s...) }

// Reset forgets the values.
func (s *Strings) Reset() { *s = nil }

// Repeatable implements Repeatable.
func (s *Strings) Repeatable() bool { return true }

// Each is a flag that may be given several times. Unlike in Strings, commas are part
// of a value.
type Each []string

// String returns the values, a line each.
func (e *Each) String() string { return strings.Join(*e, "\n") }

// Set adds v.
func (e *Each) Set(v string) error {
	*e = append(*e, v)
	return nil
}

// Get returns the values; none is an empty list.
func (e *Each) Get() any { return append([]string{}, *e...) }

// Reset forgets the values.
func (e *Each) Reset() { *e = nil }

// Repeatable implements Repeatable.
func (e *Each) Repeatable() bool { return true }
