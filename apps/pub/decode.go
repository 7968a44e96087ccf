package main

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace-mq/millrace/apps/internal/record"
	"github.com/millrace-mq/millrace/protocol"
)

// decoder makes messages of records.
type decoder struct {
	wrapped bool   // records are objects that have the message in them, as to_file writes them
	topic   string // of messages that have none of their own; may be empty
	field   string // of the record, a JSON object, that names its topic; empty if none does
	limit   int    // bytes of a message at most

	json record.Parser
}

// message is what is to be published.
type message struct {
	body  []byte
	topic string
}

// decode returns the message of a record. Its body aliases the record if it can,
// and nothing that changes otherwise. An error says why there is none.
func (d *decoder) decode(data []byte) (m message, err error) {
	m = message{data, d.topic}
	if d.wrapped || d.field != "" {
		if m, err = d.parse(data); err != nil {
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
func (d *decoder) parse(line []byte) (message, error) {
	m := message{body: line}
	if d.wrapped {
		m.body = nil
	}
	named, wrong, err := d.object(line, &m)
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
func (d *decoder) object(line []byte, m *message) (named string, wrong, err error) {
	err = d.json.Members(line, func(name string, value jsontext.Value) error {
		if d.field != "" && name == d.field {
			text, err := record.Text(value)
			if named = string(text); err != nil {
				wrong = fmt.Errorf("the field %q %w", d.field, err)
			}
		}
		if !d.wrapped {
			return nil
		}
		body, err := record.Body(name, value)
		if body != nil {
			m.body = body
		}
		return err
	})
	return named, wrong, err
}
