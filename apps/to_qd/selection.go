package main

import (
	"math/rand/v2"

	"github.com/millrace-mq/millrace/apps/internal/fields"
)

// selection is which messages are sent, and what of them.
type selection struct {
	sample float64 // the part of them that is, by chance
	filter fields.Filter
	keep   []string // fields of a JSON object; none stands for the body as it is
}

// choose returns what of body is to be sent, and whether it is. The error says why
// fields were looked for in vain: the body is no JSON object, and is not sent. What it has to
// make anew is appended to space, which it returns.
func (s *selection) choose(space, body []byte) (chosen, left []byte, send bool, err error) {
	// #nosec G404 -- a sample, not a secret
	if s.sample < 1 && rand.Float64() >= s.sample {
		return nil, space, false, nil
	}
	if len(s.filter) > 0 {
		if ok, err := s.filter.Match(body); !ok {
			return nil, space, false, err
		}
	}
	if len(s.keep) == 0 {
		return body, space, true, nil
	}
	before := len(space)
	space, err = fields.Append(space, body, s.keep)
	return space[before:len(space):len(space)], space, err == nil, err
}
