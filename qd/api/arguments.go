package api

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/millrace-mq/millrace/internal/httpapi"
	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/broker"
)

// argument returns the query's first value for name. An empty one counts.
func argument(q url.Values, name string) (string, error) {
	values, given := q[name]
	if !given {
		return "", badRequest("MISSING_ARG_" + strings.ToUpper(name))
	}
	return values[0], nil
}

// nameArgument returns the query's value for name, which must be the name of a
// topic or channel; invalid is the code for one that is not.
func nameArgument(q url.Values, name, invalid string) (string, error) {
	value, err := argument(q, name)
	if err == nil && !protocol.ValidName(value) {
		err = badRequest(invalid)
	}
	return value, err
}

// channelArguments returns the names of a topic and a channel.
func channelArguments(q url.Values) (topic, channel string, err error) {
	if topic, err = nameArgument(q, "topic", "INVALID_ARG_TOPIC"); err != nil {
		return "", "", err
	}
	channel, err = nameArgument(q, "channel", "INVALID_ARG_CHANNEL")
	return topic, channel, err
}

// numberArgument returns the query's value for name, a decimal number from 0 to
// most.
func numberArgument(q url.Values, name string, most int64) (int64, error) {
	text, err := argument(q, name)
	if err != nil {
		return 0, err
	}
	// ParseUint takes no signs.
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil || int64(n) > most {
		return 0, invalid(name, fmt.Sprintf("must be a number from 0 to %d", most))
	}
	return int64(n), nil
}

// idArgument returns the query's value for name, a message ID.
func idArgument(q url.Values, name string) (uint64, error) {
	text, err := argument(q, name)
	if err != nil {
		return 0, err
	}
	id, ok := protocol.ParseID([]byte(text))
	if !ok {
		return 0, invalid(name, "must be a message ID of 16 lower-case hex digits")
	}
	return id, nil
}

// placeArgument returns the query's value for name, a place in a topic's log.
func placeArgument(q url.Values, name string) (broker.Place, error) {
	text, err := argument(q, name)
	if err != nil {
		return broker.Place{}, err
	}
	place, err := broker.ParsePlace(text)
	if err != nil {
		return place, invalid(name, err.Error())
	}
	return place, nil
}

// invalid refuses an argument with a sentence about what it should be.
func invalid(name, sentence string) error {
	return badRequest("INVALID_" + strings.ToUpper(name) + ": " + sentence)
}

func badRequest(code string) error { return &httpapi.Error{Status: http.StatusBadRequest, Code: code} }
