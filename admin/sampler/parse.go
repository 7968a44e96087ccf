package sampler

import (
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// parser reads JSON as it comes, and keeps none of it. It reads what it is asked for and
// steps over the rest.
type parser struct {
	*jsontext.Decoder
	guard *guard
	text  []byte // of the last string
}

func newParser(from io.Reader) *parser {
	g := &guard{from: from}
	return &parser{
		Decoder: jsontext.NewDecoder(g, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)),
		guard:   g,
	}
}

// maxPiece is the longest that a name, a number or any other piece may be that is in
// memory as a whole.
const maxPiece = 4 << 20

// guard fails when more than maxPiece bytes were read since the parser last came on.
type guard struct {
	from io.Reader
	read int64
	mark int64 // how far the parser has come
}

func (g *guard) Read(p []byte) (int, error) {
	if g.read-g.mark > maxPiece {
		return 0, errors.New("a single value of the answer is longer than 4 MiB")
	}
	n, err := g.from.Read(p)
	g.read += int64(n)
	return n, err
}

// object calls field for each of an object's fields with its name in quotes, as it stands
// there; field reads the value or skips it. null is an object without fields.
func (p *parser) object(field func(name []byte) error) error {
	if ok, err := p.open('{'); !ok || err != nil {
		return err
	}
	for p.PeekKind() != '}' {
		name, err := p.ReadValue()
		if err != nil {
			return err
		}
		p.guard.mark = p.InputOffset()
		if err := field(name); err != nil {
			return err
		}
	}
	_, err := p.ReadToken()
	return err
}

// array calls element for each of an array's elements. null is an array without any.
func (p *parser) array(element func() error) error {
	if ok, err := p.open('['); !ok || err != nil {
		return err
	}
	for p.PeekKind() != ']' {
		p.guard.mark = p.InputOffset()
		if err := element(); err != nil {
			return err
		}
	}
	_, err := p.ReadToken()
	return err
}

// open reads the begin of an object or array; ok is false if there is null instead.
func (p *parser) open(kind jsontext.Kind) (ok bool, err error) {
	t, err := p.ReadToken()
	if err != nil {
		return false, err
	}
	if t.Kind() != kind && t.Kind() != 'n' {
		return false, p.wrong(t.Kind())
	}
	return t.Kind() == kind, nil
}

// scalar reads a value that is of a kind; null is nil.
func (p *parser) scalar(kind jsontext.Kind) ([]byte, error) {
	v, err := p.ReadValue()
	if err != nil {
		return nil, err
	}
	p.guard.mark = p.InputOffset()
	switch v.Kind() {
	case kind:
		return v, nil
	case 'n':
		return nil, nil
	}
	return nil, p.wrong(v.Kind())
}

func (p *parser) wrong(kind jsontext.Kind) error {
	return fmt.Errorf("unexpected %v at %.100s", kind, p.StackPointer())
}

// bytes reads text, which is valid until the next is read.
func (p *parser) bytes() ([]byte, error) {
	v, err := p.scalar('"')
	if err != nil || v == nil {
		return nil, err
	}
	// All that can be wrong is bytes that are no text, which are replaced.
	p.text, _ = jsontext.AppendUnquote(p.text[:0], v)
	return p.text, nil
}

// str reads text, of which more than maxName bytes are cut off.
func (p *parser) str(to *string) error {
	b, err := p.bytes()
	if b = b[:min(len(b), maxName)]; string(b) != *to {
		*to = string(b)
	}
	return err
}

func (p *parser) bool(to *bool) error {
	v, err := p.ReadToken()
	if err != nil {
		return err
	}
	switch v.Kind() {
	case 't', 'f':
		*to = v.Bool()
	case 'n':
	default:
		return p.wrong(v.Kind())
	}
	return nil
}

// uint reads a number; what is not whole, or out of range, comes to the nearest that is.
func (p *parser) uint(to *uint64) error {
	v, err := p.scalar('0')
	if err != nil || v == nil {
		return err
	}
	n, plain := digits(v)
	if !plain {
		if n, err = strconv.ParseUint(string(v), 10, 64); err != nil && !errors.Is(err, strconv.ErrRange) {
			f, _ := strconv.ParseFloat(string(v), 64)
			n = uint64(max(0, min(f, 1<<63)))
		}
	}
	*to = n
	return nil
}

// int reads a number as uint does.
func (p *parser) int(to *int64) error {
	v, err := p.scalar('0')
	if err != nil || v == nil {
		return err
	}
	u, plain := digits(v)
	// #nosec G115 -- what becomes negative is read again, as ParseInt and floats do
	n := int64(u)
	if !plain || n < 0 {
		if n, err = strconv.ParseInt(string(v), 10, 64); err != nil && !errors.Is(err, strconv.ErrRange) {
			f, _ := strconv.ParseFloat(string(v), 64)
			n = int64(max(-1<<62, min(f, 1<<62)))
		}
	}
	*to = n
	return nil
}

// digits reads a number that is nothing but digits, and few enough for 64 bits: as nearly
// all are.
func digits(v []byte) (n uint64, ok bool) {
	if len(v) > 19 {
		return 0, false
	}
	for _, c := range v {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, true
}

func (p *parser) float(to *float64) error {
	v, err := p.scalar('0')
	if err != nil || v == nil {
		return err
	}
	*to, _ = strconv.ParseFloat(string(v), 64) // out of range is infinite
	return nil
}
