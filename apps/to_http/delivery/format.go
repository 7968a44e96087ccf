package delivery

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	millrace "github.com/millrace-mq/millrace/clients/go"
)

// Format is what a request's body is made of.
type Format uint8

const (
	Raw       Format = iota // the body of one message
	Newline                 // bodies, each with a newline behind it
	JSONArray               // an array of bodies, which are JSON
	JSON                    // an array of objects, which have a body and what it comes with
)

// Formats are the names of those for several messages.
var Formats = []string{"newline", "json-array", "json"}

// ParseFormat returns the format with a name.
func ParseFormat(name string) (Format, error) {
	i := slices.Index(Formats, name)
	if i < 0 {
		return Raw, fmt.Errorf("batch-format %q: must be newline, json-array or json", name)
	}
	return Newline + Format(i), nil
}

// ContentType is what a format is.
func (f Format) ContentType() string {
	if f == JSONArray || f == JSON {
		return "application/json"
	}
	return "application/octet-stream"
}

// fits returns why a format cannot hold a body so that it can be read back.
func (f Format) fits(body []byte) error {
	switch {
	case f == Newline && bytes.IndexByte(body, '\n') >= 0:
		return errors.New("the body has a newline, which batch-format newline cannot tell from the end of a message")
	case f == JSONArray && !json.Valid(body):
		return errors.New("the body is not JSON, as batch-format json-array needs it")
	}
	return nil
}

// object is a message in format JSON.
type object struct {
	ID        string  `json:"id"`
	Timestamp int64   `json:"timestamp"` // ns since 1970
	Attempts  uint16  `json:"attempts"`
	Topic     string  `json:"topic"`
	Body      *string `json:"body,omitempty"`
	Bytes     []byte  `json:"body_base64,omitempty"` // if the body is not UTF-8
}

// encode returns the body of a request with messages of a topic. A request of one
// message may share its memory.
func (f Format) encode(topic string, messages []*millrace.Message) []byte {
	if f == Raw {
		return messages[0].Body
	}
	if f == Newline {
		var all []byte
		for _, m := range messages {
			all = append(append(all, m.Body...), '\n')
		}
		return all
	}
	all := []byte{'['}
	for i, m := range messages {
		if i > 0 {
			all = append(all, ',')
		}
		if f == JSONArray {
			all = append(all, m.Body...)
		} else {
			all = append(all, wrap(topic, m)...)
		}
	}
	return append(all, ']')
}

func wrap(topic string, m *millrace.Message) []byte {
	o := object{ID: m.ID.String(), Timestamp: m.Timestamp.UnixNano(), Attempts: m.Attempts, Topic: topic}
	if utf8.Valid(m.Body) {
		text := string(m.Body)
		o.Body = &text
	} else {
		o.Bytes = m.Body
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(o); err != nil {
		panic(err) // strings and numbers can be encoded
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}
