package audit

import (
	"slices"
	"strings"
)

// Filter says which entries are wanted. What is empty asks for nothing.
type Filter struct {
	Who, Action, Topic string
	Text               string // is in the entry somewhere, in any case of letters
	Before             uint64 // only entries with lower numbers: the next page; 0: all
	Limit              int    // at most so many; 0: 100
}

const defaultLimit = 100

// List returns the entries that f asks for, the latest first. Their Results are
// shared and must not be changed.
func (l *Log) List(f Filter) []Entry {
	if f.Limit <= 0 {
		f.Limit = defaultLimit
	}
	f.Text = strings.ToLower(f.Text)
	l.mu.Lock()
	all := slices.Clone(l.entries) // pointers, so that the search holds up nobody
	l.mu.Unlock()
	var found []Entry
	for _, e := range slices.Backward(all) {
		if len(found) == f.Limit {
			break
		}
		if f.wants(e) {
			found = append(found, shared(e))
		}
	}
	return found
}

func (f *Filter) wants(e *Entry) bool {
	same := func(wanted, is string) bool { return wanted == "" || wanted == is }
	return (f.Before == 0 || e.Number < f.Before) &&
		same(f.Who, e.Who) && same(f.Action, e.Action) && same(f.Topic, e.Topic) &&
		(f.Text == "" || says(e, f.Text))
}

// says reports whether a text, in lower case, is in e.
func says(e *Entry, text string) bool {
	has := func(s string) bool { return strings.Contains(strings.ToLower(s), text) }
	if slices.ContainsFunc([]string{
		e.Who, e.Role, e.How, e.From, e.UserAgent, e.Via, e.Action, e.Topic, e.Channel, e.Node, e.Detail, e.URL, e.Refused,
	}, has) {
		return true
	}
	return slices.ContainsFunc(e.Results, func(r Result) bool { return has(r.Node) || has(r.Error) || has(r.Note) })
}
