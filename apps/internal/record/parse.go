package record

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// PrefixSize is how many bytes a length-prefixed message has before its body.
const PrefixSize = 4

// appendPrefix adds what is before a body of size bytes.
func appendPrefix(dst []byte, size int) []byte {
	// #nosec G115 -- a message is at most max-msg-size
	return binary.BigEndian.AppendUint32(dst, uint32(size))
}

// BodySize is how long the body is that follows a prefix, of which b has PrefixSize bytes
// at least.
func BodySize(b []byte) int64 { return int64(binary.BigEndian.Uint32(b)) }

// Parser reads JSON lines back, those of others, too. It has memory that it uses again,
// and is for one goroutine.
type Parser struct {
	json jsontext.Decoder
	in   bytes.Reader
}

// Members calls each with the members of a line that is an object, until that fails. A
// value is valid until each returns. The error says what the line is instead; more
// than an object, and one that has a member twice, is none.
func (p *Parser) Members(line []byte, each func(name string, value jsontext.Value) error) error {
	p.in.Reset(line)
	p.json.Reset(&p.in)
	start, err := p.json.ReadToken()
	if err != nil {
		return notAnObject(err)
	}
	if start.Kind() != '{' {
		return notAnObject(errors.New("it is of another kind"))
	}
	for p.json.PeekKind() != '}' {
		key, err := p.json.ReadToken()
		if err != nil {
			return notAnObject(err)
		}
		name := key.String() // before the next read, which ends key
		value, err := p.json.ReadValue()
		if err != nil {
			return notAnObject(err)
		}
		if err := each(name, value); err != nil {
			return err
		}
	}
	if _, err := p.json.ReadToken(); err != nil {
		return notAnObject(err)
	}
	if _, err := p.json.ReadToken(); err != io.EOF {
		return notAnObject(errors.New("something is behind it"))
	}
	return nil
}

func notAnObject(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("not a JSON object: %w", err)
}

// Body returns the body if the member is one of those that JSON has it in; nil, without
// an error, if it is another one. The body is the caller's.
func Body(name string, value jsontext.Value) ([]byte, error) {
	if name != "body" && name != "body_base64" {
		return nil, nil
	}
	text, err := Text(value)
	if err == nil && name == "body_base64" {
		text, err = base64.StdEncoding.AppendDecode([]byte{}, text)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return text, nil
}

// Text returns what a JSON string says, never nil unless it is none. It is the caller's.
func Text(value jsontext.Value) ([]byte, error) {
	if value.Kind() != '"' {
		return nil, errors.New("is not a string")
	}
	return jsontext.AppendUnquote([]byte{}, value)
}
