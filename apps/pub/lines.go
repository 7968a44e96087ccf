package main

import (
	"fmt"
	"slices"
	"strings"
)

// span is the records from one line to another.
type span struct{ from, to int64 }

// lineSet is a set of lines, as spans in order. Of very many spans it forgets where the
// last ones are, not how many lines there are.
type lineSet struct {
	n     int64
	spans []span
	last  int64
}

const (
	spansHeld = 4096
	spansTold = 8
)

// add adds lines, which are in order.
func (s *lineSet) add(lines ...int64) {
	for _, line := range lines {
		s.addOne(line)
	}
}

func (s *lineSet) addOne(line int64) {
	s.n++
	s.last = max(s.last, line)
	if k := len(s.spans); k > 0 && s.spans[k-1].to+1 == line {
		s.spans[k-1].to = line
		return
	}
	i, found := slices.BinarySearchFunc(s.spans, line, func(p span, line int64) int {
		switch {
		case p.to+1 < line:
			return -1
		case p.from-1 > line:
			return 1
		}
		return 0
	})
	if !found {
		if len(s.spans) < spansHeld {
			s.spans = slices.Insert(s.spans, i, span{line, line})
		}
		return
	}
	p := &s.spans[i]
	p.from, p.to = min(p.from, line), max(p.to, line)
	if i+1 < len(s.spans) && s.spans[i+1].from == p.to+1 {
		p.to = s.spans[i+1].to
		s.spans = slices.Delete(s.spans, i+1, i+2)
	}
}

// tell names the lines with what place makes of a span.
func (s *lineSet) tell(noun string, place func(span) string) string {
	if s.n == 1 {
		return noun + " " + place(s.spans[0])
	}
	var all []string
	for _, p := range s.spans[:min(len(s.spans), spansTold)] {
		all = append(all, place(p))
	}
	text := noun + "s " + strings.Join(all, ", ")
	if len(s.spans) > spansTold {
		text += fmt.Sprintf(" and others up to %s", place(span{s.last, s.last}))
	}
	return text
}

// were says that there were n of something.
func were(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun + " was"
	}
	return fmt.Sprintf("%d %ss were", n, noun)
}
