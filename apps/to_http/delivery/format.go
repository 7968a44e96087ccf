package delivery

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/millrace-mq/millrace/apps/internal/record"
	millrace "github.com/millrace-mq/millrace/clients/go"
)

// Format is what a request's body is made of.
type Format uint8

const (
	Raw       Format = iota // the body of one message
	Newline                 // bodies, each with a newline behind it
	JSONArray               // an array of bodies, which are JSON
	JSON                    // an array of objects, such as package record makes
)

// Formats are the names of those for several messages.
var Formats = []string{"newline", "json-array", "json"}

// ParseFormat returns the format with a name.
func ParseFormat(name string) (Format, error) {
	i := slices.Index(Formats, name)
	if i < 0 {
		return Raw, fmt.Errorf("batch-format %q: must be newline, json-array or json", name)
	}
	// #nosec G115 -- an index of the few formats
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
			all = record.JSON.Append(all, &record.Record{ID: m.ID, Timestamp: m.Timestamp, Attempts: m.Attempts, Topic: topic, Body: m.Body})
			all = all[:len(all)-1] // the end of its line
		}
	}
	return append(all, ']')
}
