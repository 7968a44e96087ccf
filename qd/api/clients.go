package api

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/millrace-mq/millrace/internal/httpapi"
)

// disconnect closes a client's connection.
func (a *api) disconnect(_ *http.Request, q url.Values) (any, error) {
	text, err := httpapi.Argument(q, "connection")
	if err != nil {
		return nil, err
	}
	connection, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return nil, invalid("connection", "must be the number that /stats has for a client's connection")
	}
	if !a.Disconnect(connection) {
		return nil, notFound("CLIENT_NOT_FOUND")
	}
	return nil, nil
}
