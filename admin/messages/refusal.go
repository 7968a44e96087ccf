package messages

import (
	"errors"
	"net/http"

	"github.com/millrace-mq/millrace/admin/cluster"
)

// isAbsent reports whether a daemon has answered that it has no such topic, channel
// or message.
func isAbsent(err error) bool {
	r, ok := errors.AsType[*cluster.Refusal](err)
	if !ok {
		return false
	}
	return r.Code == "TOPIC_NOT_FOUND" || r.Code == "CHANNEL_NOT_FOUND" || r.Code == "MESSAGE_NOT_FOUND"
}

// explain says why a daemon did not do what it was asked for; nsqd does not know
// the request at all.
func explain(err error, what string) string {
	r, ok := errors.AsType[*cluster.Refusal](err)
	if !ok {
		return cluster.Reason(err)
	}
	unknown := r.Status == http.StatusNotFound && r.Code == "NOT_FOUND" || r.Status == http.StatusMethodNotAllowed
	if unknown || r.Code == "MISSING_ARG_TOPIC" { // the latter: a qd that cannot yet find a message without its topic
		return "this node is an nsqd or an older qd, and cannot " + what
	}
	return cluster.Reason(err)
}
