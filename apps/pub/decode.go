package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace-mq/millrace/protocol"
)

// decoder makes messages of records.
type decoder struct {
	wrapped bool   // records are objects that have the message in them, as to_file writes them
	topic   string // of messages that have none of their own; may be empty
	field   string // of the record, a JSON object, that names its topic; empty if none does
	limit   int    // bytes of a message at most

	json jsontext.Decoder
	in   bytes.Reader
}

// message is what is to be published.
type message struct {
	body  []byte
	topic string
}

// decode returns the message of a record. Its body aliases the record if it can,
// and nothing that changes otherwise. An error says why there is none.
func (d *decoder) decode(record []byte) (m message, err error) {
	m = message{record, d.topic}
	if d.wrapped || d.field != "" {
		if m, err = d.parse(record); err != nil {
			return message{}, err
		}
	}
	if len(m.body) > d.limit {
		return message{}, tooLong(int64(len(m.body)), d.limit)
	}
	return m, nil
}

func tooLong(size int64, limit int) error {
	return fmt.Errorf("%d bytes are more than the %d of --max-msg-size (raise it if the daemon's is higher)", size, limit)
}

// parse is decode for a record that has to be read as JSON.
func (d *decoder) parse(record []byte) (message, error) {
	m := message{body: record}
	if d.wrapped {
		m.body = nil
	}
	named, wrong, err := d.object(record, &m)
	switch {
	case err != nil && (d.wrapped || d.topic == ""):
		return message{}, err
	case err != nil:
		named, wrong = "", nil // it goes where --topic says
	case d.wrapped && m.body == nil:
		return message{}, errors.New("neither body nor body_base64 is in it")
	}
	m.topic, err = d.choose(named, wrong)
	return m, err
}

// choose returns the topic of a record whose field says named.
func (d *decoder) choose(named string, wrong error) (string, error) {
	switch {
	case d.field == "":
		return d.topic, nil
	case wrong == nil && named == "":
		wrong = fmt.Errorf("the field %q is not in it", d.field)
	case wrong == nil && !protocol.ValidName(named):
		wrong = fmt.Errorf("the field %q is %.70q: not a valid name of a topic", d.field, named)
	}
	if wrong == nil {
		return named, nil
	}
	if d.topic == "" {
		return "", wrong
	}
	return d.topic, nil
}

// object reads all of a record, and from it the topic's name and, if it is wrapped,
// the body. wrong is why there is no name although the field is there.
func (d *decoder) object(record []byte, m *message) (named string, wrong, err error) {
	err = d.members(record, func(name string, value jsontext.Value) error {
		if d.field != "" && name == d.field {
			text, err := unquote(value)
			if named = string(text); err != nil {
				wrong = fmt.Errorf("the field %q %w", d.field, err)
			}
		}
		if d.wrapped {
			return m.unwrap(name, value)
		}
		return nil
	})
	return named, wrong, err
}

// members calls each with the members of a record that is an object, until that fails.
func (d *decoder) members(record []byte, each func(name string, value jsontext.Value) error) error {
	d.in.Reset(record)
	d.json.Reset(&d.in)
	start, err := d.json.ReadToken()
	if err != nil {
		return notAnObject(err)
	}
	if start.Kind() != '{' {
		return notAnObject(errors.New("it is of another kind"))
	}
	for d.json.PeekKind() != '}' {
		key, err := d.json.ReadToken()
		if err != nil {
			return notAnObject(err)
		}
		name := key.String() // before the next read, which ends key
		value, err := d.json.ReadValue()
		if err != nil {
			return notAnObject(err)
		}
		if err := each(name, value); err != nil {
			return err
		}
	}
	if _, err := d.json.ReadToken(); err != nil {
		return notAnObject(err)
	}
	if _, err := d.json.ReadToken(); err != io.EOF {
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

// unwrap takes the body from a member of the object that to_file writes.
func (m *message) unwrap(name string, value jsontext.Value) error {
	if name != "body" && name != "body_base64" {
		return nil
	}
	text, err := unquote(value)
	if err == nil && name == "body_base64" {
		text, err = base64.StdEncoding.AppendDecode([]byte{}, text)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	m.body = text
	return nil
}

// unquote returns what a JSON string says, never nil unless it is none.
func unquote(value jsontext.Value) ([]byte, error) {
	if value.Kind() != '"' {
		return nil, errors.New("is not a string")
	}
	return jsontext.AppendUnquote([]byte{}, value)
}
