package api

import (
	"net/http"
	"net/url"

	"github.com/millrace-mq/millrace/internal/httpapi"
	"github.com/millrace-mq/millrace/qd/broker"
)

// change is a row of the table of what operators do to topics and channels.
type change struct {
	path, old string // old is what the path was before NSQ 1.0
	handle    httpapi.Handler
}

func (a *api) changes() []change {
	return []change{
		{"/topic/create", "/create_topic", a.createTopic},
		{"/topic/delete", "/delete_topic", a.deleteTopic},
		{"/topic/empty", "/empty_topic", a.emptyTopic},
		{"/topic/pause", "/pause_topic", a.pauseTopic},
		{"/topic/unpause", "/unpause_topic", a.onTopic((*broker.Topic).Unpause)},
		{"/channel/create", "/create_channel", a.createChannel},
		{"/channel/delete", "/delete_channel", a.onChannel((*broker.Topic).DeleteChannel)},
		{"/channel/empty", "/empty_channel", a.onChannel((*broker.Topic).EmptyChannel)},
		{"/channel/pause", "/pause_channel", a.pauseChannel},
		{"/channel/unpause", "/unpause_channel", a.onChannel((*broker.Topic).UnpauseChannel)},
	}
}

func (a *api) deleteTopic(_ *http.Request, q url.Values) (any, error) {
	name, err := httpapi.Argument(q, "topic")
	if err != nil {
		return nil, err
	}
	return nil, refusal(a.Broker.DeleteTopic(name))
}

// emptyTopic alone of its kind refuses what cannot be a name.
func (a *api) emptyTopic(r *http.Request, q url.Values) (any, error) {
	if _, err := httpapi.NameArgument(q, "topic", "INVALID_TOPIC"); err != nil {
		return nil, err
	}
	return a.onTopic((*broker.Topic).Empty)(r, q)
}

// onTopic returns a handler that does something to a topic that exists.
func (a *api) onTopic(do func(*broker.Topic) error) httpapi.Handler {
	return func(_ *http.Request, q url.Values) (any, error) {
		name, err := httpapi.Argument(q, "topic")
		if err != nil {
			return nil, err
		}
		t, err := a.Broker.Find(name)
		if err == nil {
			err = do(t)
		}
		return nil, refusal(err)
	}
}

// onChannel returns a handler that does something to a channel, which do finds
// in its topic.
func (a *api) onChannel(do func(t *broker.Topic, channel string) error) httpapi.Handler {
	return func(_ *http.Request, q url.Values) (any, error) {
		topic, channel, err := httpapi.ChannelArguments(q)
		if err != nil {
			return nil, err
		}
		t, err := a.Broker.Find(topic)
		if err == nil {
			err = do(t, channel)
		}
		return nil, refusal(err)
	}
}
