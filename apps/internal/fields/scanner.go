package fields

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// scanner is one look at a body. It is used again, so that a look allocates nothing.
type scanner struct {
	buffer  bytes.Buffer
	decoder jsontext.Decoder
	scratch []byte // a string without its escapes

	// sought is a stack: on top what is looked for in the object that the scanner is in,
	// below it what is looked for in those around it.
	sought []sought

	filter Filter
	met    []bool // by index of filter
	out    []byte
}

// sought is a field that is looked for.
type sought struct {
	index int
	rest  string // of its name, in this object
	here  bool   // nothing is left of the name: this is the field
}

var scanners = sync.Pool{New: func() any { return new(scanner) }}

// most is how large a scratch may be that is kept for the next body, in bytes.
const most = 64 << 10

func (s *scanner) start(body []byte) {
	// The decoder reads the bytes of a bytes.Buffer where they are, and does not change them.
	s.buffer = *bytes.NewBuffer(body)
	s.decoder.Reset(&s.buffer, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

func (s *scanner) release() {
	s.buffer = bytes.Buffer{}
	s.decoder.Reset(&s.buffer)
	s.sought, s.met, s.filter = s.sought[:0], s.met[:0], nil
	if cap(s.scratch) > most {
		s.scratch = nil
	}
	scanners.Put(s)
}

// A visit is what is done at a field in which, or in whose value, something is sought:
// what is in the stack from top on. It reads the value.
type visit func(s *scanner, name jsontext.Value, top int) error

// whole looks at the object that the body is, and sees that nothing follows it.
func (s *scanner) whole(field visit) error {
	var err error
	object := s.decoder.PeekKind() == '{'
	if object {
		err = s.object(0, field)
	} else {
		err = s.decoder.SkipValue()
	}
	if err == nil {
		if _, err = s.decoder.ReadToken(); err == nil {
			return errors.New("the body is no JSON: something follows its first value")
		}
	} else if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	switch {
	case err != io.EOF:
		return fmt.Errorf("the body is no JSON: %w", err)
	case !object:
		return ErrNotObject
	}
	return nil
}

// object reads an object, in which what the stack has from base on is sought.
func (s *scanner) object(base int, field visit) error {
	if _, err := s.decoder.ReadToken(); err != nil {
		return err
	}
	top := len(s.sought)
	for s.decoder.PeekKind() != '}' {
		name, err := s.decoder.ReadValue()
		if err != nil {
			return err
		}
		s.seek(base, top, name)
		if len(s.sought) == top {
			err = s.decoder.SkipValue()
		} else {
			err = field(s, name, top)
		}
		if err != nil {
			return err
		}
		s.sought = s.sought[:top]
	}
	_, err := s.decoder.ReadToken()
	return err
}

// seek puts on the stack, for the field called name, what of its part from base to top may
// be there.
func (s *scanner) seek(base, top int, quoted jsontext.Value) {
	name := s.plain(quoted)
	for _, o := range s.sought[base:top] {
		switch n := len(name); {
		case o.here || len(o.rest) < n || o.rest[:n] != string(name):
		case len(o.rest) == n:
			s.sought = append(s.sought, sought{index: o.index, here: true})
		case o.rest[n] == '.':
			s.sought = append(s.sought, sought{index: o.index, rest: o.rest[n+1:]})
		}
	}
}

// plain is what a JSON string says. It is valid until the next call.
func (s *scanner) plain(quoted jsontext.Value) []byte {
	if inside := quoted[1 : len(quoted)-1]; bytes.IndexByte(inside, '\\') < 0 {
		return inside
	}
	// The error could only be of bytes that are no UTF-8, which are let pass.
	s.scratch, _ = jsontext.AppendUnquote(s.scratch[:0], quoted)
	return s.scratch
}

// match is the visit of Filter.Match.
func (s *scanner) match(_ jsontext.Value, top int) error {
	found := s.sought[top:]
	if s.decoder.PeekKind() == '{' {
		for _, o := range found {
			if o.here {
				s.met[o.index] = s.filter[o.index].Any
			}
		}
		return s.object(top, (*scanner).match)
	}
	value, err := s.decoder.ReadValue()
	if err != nil {
		return err
	}
	for _, o := range found {
		if o.here {
			s.met[o.index] = s.holds(s.filter[o.index], value)
		}
	}
	return nil
}

// holds reports whether a field that is no object meets a condition.
func (s *scanner) holds(c Condition, value jsontext.Value) bool {
	if c.Any {
		return true
	}
	switch value.Kind() {
	case '"':
		return string(s.plain(value)) == c.Value
	case '0':
		return sameNumber(string(value), c.Value)
	case '[':
		return false
	}
	return string(value) == c.Value
}

// keep is the visit of Append. What is kept goes to out, behind the { of its object.
func (s *scanner) keep(name jsontext.Value, top int) error {
	before := len(s.out)
	if s.out[before-1] != '{' {
		s.out = append(s.out, ',')
	}
	s.out = append(append(s.out, name...), ':')
	for _, o := range s.sought[top:] {
		if o.here {
			value, err := s.decoder.ReadValue()
			s.out = append(s.out, value...)
			return err
		}
	}
	if s.decoder.PeekKind() != '{' {
		s.out = s.out[:before]
		return s.decoder.SkipValue()
	}
	s.out = append(s.out, '{')
	empty := len(s.out)
	if err := s.object(top, (*scanner).keep); err != nil {
		return err
	}
	if len(s.out) == empty {
		s.out = s.out[:before]
		return nil
	}
	s.out = append(s.out, '}')
	return nil
}
