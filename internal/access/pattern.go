package access

import (
	"errors"
	"strings"
)

// pattern stands for names of topics or channels: * is any characters, none too, and
// everything else itself. It matches whole names; "bill" does not match
// "bill#ephemeral", "bill*" does.
type pattern string

const (
	maxPattern = 128 // bytes: two names
	// maxMatched is how long a name may be that a pattern is held against. Names that
	// are valid are far shorter; what is longer is refused by whoever looks at it.
	maxMatched = 1024
)

// check returns what is wrong with the pattern.
func (p pattern) check() error {
	switch {
	case p == "":
		return errors.New("is empty: * stands for all")
	case len(p) > maxPattern:
		return errors.New("is longer than 128 characters: no name is as long")
	}
	rest := strings.TrimSuffix(string(p), "#ephemeral")
	for _, r := range rest {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
		if !letter && !strings.ContainsRune("._-*", r) {
			return errors.New("has a character that no name has: a name has letters, digits and . _ -, and * stands for any of them (no regular expressions)")
		}
	}
	return nil
}

// match reports whether the pattern stands for name. It takes time in proportion to
// both lengths multiplied, whatever the pattern: a star that did not lead to a match
// is never come back to once there is another behind it.
func (p pattern) match(name string) bool {
	if p == "*" {
		return true
	}
	if len(name) > maxMatched {
		return false
	}
	at, star, from := 0, -1, 0 // where in p; behind the last star; where in name that ends
	for i := 0; i < len(name); {
		switch {
		case at < len(p) && p[at] == '*':
			at++
			star, from = at, i
		case at < len(p) && p[at] == name[i]:
			at++
			i++
		case star >= 0:
			from++
			at, i = star, from
		default:
			return false
		}
	}
	return strings.Trim(string(p[at:]), "*") == ""
}

// patterns stand for names; nil for all.
type patterns []pattern

func (all patterns) match(name string) bool {
	if all == nil {
		return true
	}
	for _, p := range all {
		if p.match(name) {
			return true
		}
	}
	return false
}
