package lookupd

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/millrace-mq/millrace/internal/httpapi"
	"github.com/millrace-mq/millrace/protocol"
)

const (
	// maxLimit is the most that a page can be asked to have.
	maxLimit = 1_000_000

	// pageNames and pageNodes are how many names or daemons are taken from the
	// registry under one lock: a fraction of a millisecond's work.
	pageNames = 1000
	pageNodes = 200
)

// page is the part of a list that is asked for.
type page struct {
	left  int    // how many more
	after string // those behind this one; empty for the beginning
}

// pageArguments returns which part of a list is asked for: all of it if nothing is
// said. place says what is wrong with a place in the list, or nothing.
func pageArguments(q httpapi.Arguments, place func(string) string) (p page, err error) {
	p.left = math.MaxInt
	if text, given := q.First("limit"); given {
		limit, err := strconv.ParseUint(text, 10, 32) // takes no signs
		if err != nil || limit == 0 || limit > maxLimit {
			return p, invalid("limit", fmt.Sprintf("must be a whole number from 1 to %d", maxLimit))
		}
		p.left = int(limit)
	}
	if p.after, _ = q.First("after"); p.after != "" {
		if wrong := place(p.after); wrong != "" {
			return p, invalid("after", wrong)
		}
	}
	return p, nil
}

func invalid(argument, sentence string) error {
	return httpapi.BadRequest("INVALID_ARG_" + strings.ToUpper(argument) + ": " + sentence)
}

// truthArgument returns the query's value for name: true or false.
func truthArgument(q httpapi.Arguments, name string, otherwise bool) (bool, error) {
	switch text, given := q.First(name); {
	case !given:
		return otherwise, nil
	case text == "true", text == "false":
		return text == "true", nil
	}
	return false, invalid(name, "must be true or false")
}

// A place in a list of names is a name, and need not be one of the list.
func namePlace(text string) string {
	if !protocol.ValidName(text) {
		return "must be a name, such as next in the answer before"
	}
	return ""
}

// A place in a list of daemons is the number of one, which need not be there any
// more.
func nodePlace(text string) string {
	if _, err := strconv.ParseUint(text, 10, 63); err != nil {
		return "must be a number: next in the answer before"
	}
	return ""
}

// number is the place in a list of daemons.
func (p page) number() uint64 {
	n, _ := strconv.ParseUint(p.after, 10, 64) // nodePlace has looked at it
	return n
}

// list writes a list of JSON piece by piece.
type list struct {
	*httpapi.Stream
	begun bool
}

// next begins another element.
func (l *list) next() {
	if l.begun {
		_ = l.WriteByte(',')
	}
	l.begun = true
}

// name writes the name of a topic or channel, none of which needs escapes.
func name(s *httpapi.Stream, name string) {
	_ = s.WriteByte('"')
	_, _ = s.WriteString(name)
	_ = s.WriteByte('"')
}

// end writes the end of the answer, with the place to go on at if there is more.
func end(s *httpapi.Stream, next string) {
	if next != "" {
		_, _ = s.WriteString(`,"next":"` + next + `"`)
	}
	_ = s.WriteByte('}')
}
