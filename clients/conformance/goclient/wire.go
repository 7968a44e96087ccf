package goclient

import "bytes"

// Request is what the runner asks for.
type Request struct {
	ID       int               `json:"id"` // of the Event that answers; one that publishes each has an ID more for each body
	Do       string            `json:"do"` // writer, reader, a method of either, answer, letgo, wrap, unwrap, or rest
	Client   string            `json:"client,omitempty"`
	Settings map[string]string `json:"settings,omitempty"` // of writer and reader
	Form     string            `json:"form,omitempty"`     // of publish: one, each, many, deferred
	Async    bool              `json:"async,omitempty"`
	Blocking bool              `json:"blocking,omitempty"`
	Topic    string            `json:"topic,omitempty"`
	Bodies   []Body            `json:"bodies,omitempty"`
	Delay    int64             `json:"delay,omitempty"`   // in milliseconds
	Timeout  int64             `json:"timeout,omitempty"` // the same; 0: none
	Place    string            `json:"place,omitempty"`   // of seek
	Message  string            `json:"message,omitempty"` // of answer: which
	How      string            `json:"how,omitempty"`     // of answer: finish, fail, panic, keep, requeue, touch

	Traceparent string `json:"traceparent,omitempty"` // of wrap and, in an Event, unwrap
	Tracestate  string `json:"tracestate,omitempty"`
}

// Event is what the runner is told: how a request ended or, without an ID, that
// a message was handed to a handler.
type Event struct {
	ID     int    `json:"id,omitempty"`
	Result string `json:"result,omitempty"` // as a scenario has it; or accepted, and later another
	Text   string `json:"text,omitempty"`   // of an error

	Client   string `json:"client,omitempty"`
	Message  string `json:"message,omitempty"` // an ID
	Body     *Body  `json:"body,omitempty"`
	Attempts int    `json:"attempts,omitempty"`
	GivenUp  bool   `json:"given_up,omitempty"`

	Traceparent string `json:"traceparent,omitempty"`
	Tracestate  string `json:"tracestate,omitempty"`
}

// Body is a message's: Of, in base64, Times times, so that long ones are short
// here.
type Body struct {
	Of    []byte `json:"of"`
	Times int    `json:"times"`
}

// Pack makes a Body of b: a single byte, if b is long and nothing else.
func Pack(b []byte) Body {
	if len(b) > 1000 && len(bytes.Trim(b, string(b[:1]))) == 0 {
		return Body{b[:1], len(b)}
	}
	return Body{b, 1}
}

// Bytes is the body.
func (b Body) Bytes() []byte { return bytes.Repeat(b.Of, b.Times) }
