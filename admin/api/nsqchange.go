package api

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/millrace-mq/millrace/admin/actions"
	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/signin"
	"github.com/millrace-mq/millrace/internal/httpapi"
	"github.com/millrace-mq/millrace/protocol"
)

// maxNSQBody is most bytes of a body of nsqadmin's API, which has three short words.
const maxNSQBody = 64 << 10

// first refuses who may not do an action, before anything else is looked at. That is in
// the log as if it had been begun: with what it is about as far as the path tells it.
func (a *api) first(r *http.Request, action string, t actions.Target) error {
	if a.Actions.May(signin.FromContext(r.Context()), action) == nil {
		return nil
	}
	_, err := a.Actions.Begin(r.Context(), signin.FromContext(r.Context()), "api", requestOf(r, action, t))
	return nsqRefusal(err)
}

func requestOf(r *http.Request, action string, t actions.Target) actions.Request {
	return actions.Request{Action: action, Targets: []actions.Target{t}, URL: urlOf(r)}
}

// nsqRefusal is a refusal as nsqadmin words it: FORBIDDEN has no sentence.
func nsqRefusal(err error) error {
	if r, ok := errors.AsType[*actions.Refused](err); ok && r.Code == "FORBIDDEN" {
		return &httpapi.Error{Status: r.Status, Code: r.Code}
	}
	return refusal(err)
}

// decode reads a body of JSON.
func decode(r *http.Request, into any) error {
	return json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxNSQBody)).Decode(into)
}

// create creates a topic, or a channel and its topic.
func (a *api) create(r *http.Request, _ url.Values) (any, error) {
	if err := a.first(r, "create-topic", actions.Target{}); err != nil {
		return nil, err
	}
	var body struct {
		Topic   string `json:"topic"`
		Channel string `json:"channel"`
	}
	if err := decode(r, &body); err != nil {
		return nil, httpapi.BadRequest(err.Error())
	}
	if !protocol.ValidName(body.Topic) {
		return nil, httpapi.BadRequest("INVALID_TOPIC")
	}
	if body.Channel != "" && !protocol.ValidName(body.Channel) {
		return nil, httpapi.BadRequest("INVALID_CHANNEL")
	}
	done, err := a.do(r, "create-topic", actions.Target{Topic: body.Topic})
	if err != nil || body.Channel == "" {
		return done, err
	}
	also, err := a.do(r, "create-channel", actions.Target{Topic: body.Topic, Channel: body.Channel})
	also.Message = cmp.Or(also.Message, done.Message)
	return also, err
}

// change pauses, resumes or empties a topic or channel.
func (a *api) change(r *http.Request, _ url.Values) (any, error) {
	t := actions.Target{Topic: param(r, "topic"), Channel: param(r, "channel")}
	kind := "-topic"
	if t.Channel != "" {
		kind = "-channel"
	}
	if err := a.first(r, "pause"+kind, t); err != nil {
		return nil, err
	}
	var body struct {
		Action string `json:"action"`
	}
	if err := decode(r, &body); err != nil {
		return nil, httpapi.BadRequest(err.Error())
	}
	switch body.Action {
	case "pause", "unpause", "empty":
		return a.do(r, body.Action+kind, t)
	}
	return nil, httpapi.BadRequest("INVALID_ACTION")
}

// remove deletes a topic or channel.
func (a *api) remove(r *http.Request, _ url.Values) (any, error) {
	t := actions.Target{Topic: param(r, "topic"), Channel: param(r, "channel")}
	if t.Channel != "" {
		return a.do(r, "delete-channel", t)
	}
	return a.do(r, "delete-topic", t)
}

// tombstone hides a topic on a node, and deletes it there.
func (a *api) tombstone(r *http.Request, _ url.Values) (any, error) {
	if err := a.first(r, "tombstone", actions.Target{Node: param(r, "node")}); err != nil {
		return nil, err
	}
	var body struct {
		Topic string `json:"topic"`
	}
	if err := decode(r, &body); err != nil {
		return nil, httpapi.BadRequest("INVALID_BODY")
	}
	if !protocol.ValidName(body.Topic) {
		return nil, httpapi.BadRequest("INVALID_TOPIC")
	}
	return a.do(r, "tombstone", actions.Target{Topic: body.Topic, Node: param(r, "node")})
}

// do does something, waits, and answers as nsqadmin does.
func (a *api) do(r *http.Request, action string, t actions.Target) (changed, error) {
	e, err := a.Actions.Do(r.Context(), signin.FromContext(r.Context()), "api", requestOf(r, action, t))
	if err != nil {
		return changed{}, nsqRefusal(err)
	}
	message, failed := outcome(e)
	return changed{message}, failed
}

// changed is the answer to a change that somebody has made; message is a warning if not
// everybody has.
type changed struct {
	Message string `json:"message"`
}

// outcome is what became of an action: a warning if some have failed, an error if none
// has done it.
func outcome(e audit.Entry) (message string, failed error) {
	var failures []string
	done := 0
	for _, r := range byNode(e.Results) {
		switch {
		case r.OK:
			done++
		case r.Node == "":
			failures = append(failures, r.Error)
		default:
			failures = append(failures, r.Node+": "+r.Error)
		}
	}
	if len(failures) > 0 && done == 0 {
		return "", upstream("failed to "+strings.ReplaceAll(e.Action, "-", " "), failures)
	}
	return warning(failures), nil
}

// byNode are results in an order that does not depend on who was first.
func byNode(results []audit.Result) []audit.Result {
	return slices.SortedStableFunc(slices.Values(results), func(a, b audit.Result) int { return strings.Compare(a.Node, b.Node) })
}

// urlOf is the URL that was asked for, as the client has it.
func urlOf(r *http.Request) string {
	u := url.URL{Scheme: "http", Host: r.Host, Path: r.URL.Path, RawQuery: r.URL.RawQuery}
	if asked, err := url.ParseRequestURI(r.RequestURI); err == nil { // from r.URL the base path was cut off
		u.Path, u.RawPath = asked.Path, asked.RawPath
	}
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" || r.Header.Get("X-Scheme") == "https" {
		u.Scheme = "https"
	}
	return u.String()
}
