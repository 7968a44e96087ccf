package api

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/httpapi"
	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/broker"
	"github.com/millrace-mq/millrace/qd/limits"
	"github.com/millrace-mq/millrace/qd/queue"
)

const (
	// maxCopied and copyTime bound what one request for all messages does: clients
	// have time limits of their own, often of five seconds. What is left takes
	// another request.
	maxCopied = 100_000
	copyTime  = 3 * time.Second

	// copyPatience is how long a request waits for its turn: they are served one at a
	// time, so that two that ask for the same messages do not both publish them, and
	// so that many take no more memory than one.
	copyPatience = 2 * time.Second
)

// copied is the answer to /message/copy and /message/move.
type copied struct {
	Count      int    `json:"count"`
	Unreadable int    `json:"unreadable,omitempty"` // left as they are
	More       bool   `json:"more,omitempty"`
	Next       string `json:"next,omitempty"` // what to pass as after, if there is more
}

// copyMessages publishes messages of a channel to another topic. Who may see bodies
// can do so by himself, so it takes the right to consume the one and to publish to
// the other.
func (a *api) copyMessages(r *http.Request, q url.Values) (any, error) {
	return a.transfer(r, q, false)
}

// moveMessages publishes dead messages to another topic, and then drops them. To drop
// them is to change something; but whoever may do that alone must not get bodies
// that way, out of a topic that he may not consume.
func (a *api) moveMessages(r *http.Request, q url.Values) (any, error) {
	return a.transfer(r, q, true)
}

func (a *api) transfer(r *http.Request, q url.Values, move bool) (any, error) {
	topic, c, err := copyArguments(q, move)
	if err != nil {
		return nil, err
	}
	if err := a.mayCopy(r, topic, c); err != nil {
		return nil, err
	}
	t, err := a.Broker.Find(topic)
	if err != nil {
		return nil, refusal(err)
	}
	if err := a.copyTurn(r); err != nil {
		return nil, err
	}
	defer func() { <-a.copying }()
	if !move { // that is for operators; to copy takes no more than the right to publish
		c.Admit = func(bodies [][]byte) error { return a.admitCopies(r, c.To, bodies) }
	}
	done, err := t.Copy(r.Context(), c)
	httpapi.Count(r, done.Count)
	if _, early := errors.AsType[*limits.RateError](err); early && done.Count > 0 {
		err = nil // there is more, and when it may come the next request is told
	}
	if err != nil {
		return nil, a.brokenOff(done, move, err)
	}
	answer := copied{Count: done.Count, Unreadable: done.Unreadable, More: done.More}
	if done.More {
		answer.Next = formatID(done.Last)
	}
	return answer, nil
}

// admitCopies asks whether copies may be published, which limits take for any others.
func (a *api) admitCopies(r *http.Request, to string, bodies [][]byte) error {
	if err := a.admit(r, to, bodies); err != nil {
		return err
	}
	_, err := a.topicToPublish(r, to, false)
	return err
}

func copyArguments(q url.Values, move bool) (topic string, c broker.Copying, err error) {
	c = broker.Copying{Move: move, Limit: maxCopied, Within: copyTime}
	if topic, c.Channel, err = httpapi.ChannelArguments(q); err != nil {
		return topic, c, err
	}
	if c.To, err = httpapi.Argument(q, "to"); err != nil {
		return topic, c, err
	}
	if !protocol.ValidName(c.To) {
		return topic, c, invalid("to", "must be the name of a topic")
	}
	if move && protocol.Ephemeral(c.To) {
		return topic, c, invalid("to", "must not be an #ephemeral topic, which drops what it has no memory for: copy the messages instead")
	}
	if c.ID, c.All, err = whichArguments(q); err != nil {
		return topic, c, err
	}
	if !c.All {
		return topic, c, nil
	}
	if c.To == topic {
		return topic, c, invalid("to", "must be another topic than the messages are in, unless one is named by id")
	}
	if c.State, err = copiedState(q, move); err == nil && q.Has("after") {
		c.After, err = idArgument(q, "after")
	}
	return topic, c, err
}

// copiedState reads the state of the messages that are meant by all.
func copiedState(q url.Values, move bool) (queue.LookState, error) {
	if move {
		if q.Has("state") && q.Get("state") != "dead" {
			return 0, invalid("state", "must be dead, or left out: no others are moved")
		}
		return queue.DeadMessages, nil
	}
	name, err := httpapi.Argument(q, "state")
	if err != nil {
		return 0, err
	}
	state, known := lookStates[name]
	if !known || state == queue.InFlight {
		return 0, invalid("state", "must be ready, deferred or dead")
	}
	return state, nil
}

// mayCopy asks the policy about what the route has not been asked for.
func (a *api) mayCopy(r *http.Request, topic string, c broker.Copying) error {
	if c.Move {
		if err := httpapi.Ask(r, a.Policy, access.Look, topic, c.Channel); err != nil {
			return err
		}
	}
	return httpapi.Ask(r, a.Policy, access.Publish, c.To, "")
}

// copyTurn waits for the request's turn. Who has it gives it back by a receive.
func (a *api) copyTurn(r *http.Request) error {
	select {
	case a.copying <- struct{}{}: // also for who has said that he will send nothing more
		return nil
	default:
	}
	patience := time.NewTimer(copyPatience)
	defer patience.Stop()
	select {
	case a.copying <- struct{}{}:
		return nil
	case <-patience.C:
	case <-r.Context().Done():
	}
	return httpapi.Errorf(http.StatusServiceUnavailable, "BUSY: messages are being copied or moved for somebody else; try again when that is done")
}

// brokenOff is the answer to a copy that failed, and says how far it has come: what
// was done stays done.
func (a *api) brokenOff(done broker.Copied, move bool, err error) error {
	refused := a.publishRefusal(err)
	if done.Count == 0 {
		return refused
	}
	e, told := errors.AsType[*httpapi.Error](refused)
	if !told {
		e = errInternal
	}
	code, why, ok := strings.Cut(e.Code, ": ")
	if !ok {
		why = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	what := "copied"
	if move {
		what = "moved"
	}
	return httpapi.Errorf(e.Status, "%s: %s %s, up to and including %s; then: %s", code, messages(done.Count), what, formatID(done.Last), why)
}

func messages(n int) string {
	if n == 1 {
		return "1 message was"
	}
	return fmt.Sprintf("%d messages were", n)
}
