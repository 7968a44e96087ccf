package history

import (
	"slices"
	"strings"
	"time"
)

const (
	marksMost  = 1000
	markText   = 200 // bytes of each of its texts
	marksBytes = marksMost * (2*markText + 56)
)

// Mark is something that happened and explains what a chart shows.
type Mark struct {
	At   time.Time
	Node string // empty: it concerns all
	What string // "restarted", "does not answer"
}

// Mark remembers that something happened. The last thousand are kept, for as long as
// history is.
func (s *Store) Mark(at time.Time, node, what string) {
	s.adding.Lock()
	defer s.adding.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mark(Mark{At: time.UnixMilli(ms(at)).UTC(), Node: node, What: what})
}

func (s *Store) mark(m Mark) {
	m.Node, m.What = clip(m.Node), clip(m.What)
	i, _ := slices.BinarySearchFunc(s.marks, m, func(a, b Mark) int {
		if a.At.After(b.At) {
			return 1
		}
		return -1 // behind those of the same time
	})
	s.marks = slices.Insert(s.marks, i, m)
	if len(s.marks) > marksMost {
		s.marks = slices.Delete(s.marks, 0, len(s.marks)-marksMost)
	}
}

func clip(text string) string {
	if len(text) > markText {
		text = strings.ToValidUTF8(text[:markText], "")
	}
	return strings.Clone(text)
}
