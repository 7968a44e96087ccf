package httpapi

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/millrace-mq/millrace/protocol"
)

// Argument returns the query's first value for name. An empty one counts. The
// error is 400 MISSING_ARG_NAME.
func Argument(q url.Values, name string) (string, error) {
	values, given := q[name]
	if !given {
		return "", missing(name)
	}
	return values[0], nil
}

func missing(name string) error { return BadRequest("MISSING_ARG_" + strings.ToUpper(name)) }

// NameArgument returns the query's value for name, which must be the name of a
// topic or channel; invalid is the code for one that is not.
func NameArgument(q url.Values, name, invalid string) (string, error) {
	value, err := Argument(q, name)
	if err == nil && !protocol.ValidName(value) {
		err = BadRequest(invalid)
	}
	return value, err
}

// ChannelArguments returns the names of a topic and a channel.
func ChannelArguments(q url.Values) (topic, channel string, err error) {
	if topic, err = NameArgument(q, "topic", "INVALID_ARG_TOPIC"); err != nil {
		return "", "", err
	}
	channel, err = NameArgument(q, "channel", "INVALID_ARG_CHANNEL")
	return topic, channel, err
}

// BadRequest is an answer with status 400.
func BadRequest(code string) error { return &Error{Status: http.StatusBadRequest, Code: code} }
