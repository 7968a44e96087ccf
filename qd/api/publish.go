package api

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/millrace-mq/millrace/internal/audit"
	"github.com/millrace-mq/millrace/internal/httpapi"
	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/broker"
	"github.com/millrace-mq/millrace/qd/limits"
)

// publish is /pub: one message, at once or deferred.
func (a *api) publish(r *http.Request) (any, error) {
	u := a.upload()
	defer u.release()
	if err := u.read(r, a.bounds().MaxMsgSize, "MSG_TOO_BIG"); err != nil {
		return nil, err
	}
	if len(u.body) == 0 {
		return nil, httpapi.BadRequest("MSG_EMPTY")
	}
	q, err := httpapi.ParseArguments(r)
	if err != nil {
		return nil, err
	}
	topic, err := topicToPublish(q)
	if err != nil {
		return nil, err
	}
	delay, err := a.delay(q)
	if err != nil {
		return nil, err
	}
	u.bodies = append(u.bodies, u.body)
	return a.store(r, topic, u.bodies, delay)
}

func topicToPublish(q httpapi.Arguments) (string, error) {
	topic, given := q.First("topic")
	switch {
	case !given:
		return "", httpapi.BadRequest("MISSING_ARG_TOPIC")
	case !protocol.ValidName(topic):
		return "", httpapi.BadRequest("INVALID_TOPIC")
	}
	return topic, nil
}

// delay reads how many milliseconds a publish is to be deferred.
func (a *api) delay(q httpapi.Arguments) (time.Duration, error) {
	value, given := q.First("defer")
	if !given {
		return 0, nil
	}
	ms, err := strconv.ParseInt(value, 10, 64)
	if err != nil || ms < 0 || ms > a.bounds().MaxReqTimeout.Milliseconds() {
		return 0, httpapi.BadRequest("INVALID_DEFER")
	}
	return time.Duration(ms) * time.Millisecond, nil
}

// publishMany is /mpub: a message a line, or a batch as in MPUB.
func (a *api) publishMany(r *http.Request) (any, error) {
	bounds := a.bounds()
	if r.ContentLength > int64(bounds.MaxBodySize) {
		return nil, tooLarge("BODY_TOO_BIG")
	}
	q, err := httpapi.ParseArguments(r)
	if err != nil {
		return nil, err
	}
	topic, err := topicToPublish(q)
	if err != nil {
		return nil, err
	}
	u := a.upload()
	defer u.release()
	if err := u.read(r, bounds.MaxBodySize, "BODY_TOO_BIG"); err != nil {
		return nil, err
	}
	split := u.splitLines
	if binary(q) {
		split = u.splitBatch
	}
	if err := split(r, bounds.MaxMsgSize, bounds.MaxBodySize); err != nil {
		return nil, err
	}
	return a.store(r, topic, u.bodies, 0)
}

// binary reports whether the body is a batch. As in nsqd everything but a plain
// no is a yes.
func binary(q httpapi.Arguments) bool {
	value, given := q.First("binary")
	return given && value != "false" && value != "0"
}

// store publishes bodies, of which there is one if delay is not 0.
func (a *api) store(r *http.Request, topic string, bodies [][]byte, delay time.Duration) (any, error) {
	if err := a.admit(r, topic, bodies); err != nil {
		return nil, refusal(err)
	}
	err := a.tryStore(r, topic, bodies, delay)
	for errors.Is(err, broker.ErrGone) { // deleted meanwhile: its successor takes them
		err = a.tryStore(r, topic, bodies, delay)
	}
	if err == nil {
		return "OK", nil
	}
	return nil, a.publishRefusal(err)
}

// admit asks the limits whether bodies may be published now.
func (a *api) admit(r *http.Request, topic string, bodies [][]byte) error {
	if !a.Limits.Publishing() {
		return nil
	}
	return a.Limits.Admit(r.Context(), topic, a.called(r), limits.LoadOf(bodies))
}

// called is what the limits know the client by: what the policy calls it or, if that does not
// know it, where it comes from.
func (a *api) called(r *http.Request) string {
	return limits.Client(httpapi.NameOf(r, a.Policy), httpapi.RemoteOf(r))
}

// publishRefusal is refusal for what can fail because the disk does.
func (a *api) publishRefusal(err error) error {
	err = refusal(err)
	if _, told := errors.AsType[*httpapi.Error](err); !told && a.Broker.Health() != nil {
		// The log has it once already, and not for every publish again.
		err = sentence(http.StatusInternalServerError, "DISK_FAILED", err)
	}
	return err
}

// topicToPublish is Broker.TopicToPublish for who sends a request.
func (a *api) topicToPublish(r *http.Request, topic string, deferred bool) (*broker.Topic, error) {
	if t, err := a.Broker.Find(topic); err == nil {
		return t, nil
	}
	return a.Limits.Topic(a.called(r), topic, func() (*broker.Topic, error) {
		return a.Broker.TopicToPublish(audit.ByRequest(r, a.Policy), topic, deferred)
	})
}

func (a *api) tryStore(r *http.Request, topic string, bodies [][]byte, delay time.Duration) error {
	t, err := a.topicToPublish(r, topic, delay > 0)
	if err != nil {
		return err
	}
	if delay > 0 {
		return t.Defer(bodies[0], delay)
	}
	return t.Publish(bodies)
}

// splitLines takes every line that is not empty for a message.
func (u *upload) splitLines(r *http.Request, maxMessage, _ int) error {
	count := 0
	for line := range bytes.SplitSeq(u.body, newline) {
		if len(line) > maxMessage {
			return tooLarge("MSG_TOO_BIG")
		}
		if len(line) > 0 {
			count++
		}
	}
	if err := u.messages(r, count); err != nil {
		return err
	}
	for line := range bytes.SplitSeq(u.body, newline) {
		if len(line) > 0 {
			u.bodies = append(u.bodies, line)
		}
	}
	return nil
}

var newline = []byte{'\n'}

// splitBatch takes the body for what follows the size of an MPUB.
func (u *upload) splitBatch(r *http.Request, maxMessage, maxBody int) error {
	count, _, fault := protocol.CheckBatch(u.body, maxMessage, maxBody)
	if fault != nil {
		return tooLarge(strings.TrimPrefix(fault.Code, "E_"))
	}
	if err := u.messages(r, count); err != nil {
		return err
	}
	body, rest := []byte(nil), u.body[4:]
	for range count {
		body, rest = protocol.Next(rest)
		u.bodies = append(u.bodies, body)
	}
	return nil
}
