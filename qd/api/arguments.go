package api

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/millrace-mq/millrace/internal/httpapi"
	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/broker"
)

// numberArgument returns the query's value for name, a decimal number from 0 to
// most.
func numberArgument(q url.Values, name string, most int64) (int64, error) {
	text, err := httpapi.Argument(q, name)
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
	text, err := httpapi.Argument(q, name)
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
	text, err := httpapi.Argument(q, name)
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
	return httpapi.BadRequest("INVALID_" + strings.ToUpper(name) + ": " + sentence)
}
