package lookupd

import (
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/httpapi"
	"github.com/millrace-mq/millrace/lookupd/registry"
)

const (
	// bodyTimeout is how long a body may take to arrive. None is wanted, but
	// net/http reads the beginning of it before it looks for another request.
	bodyTimeout = 10 * time.Second

	// answerTimeout is how long a client may take to read an answer. Without it
	// one that stops reading would keep its answer in our memory for ever.
	answerTimeout = 30 * time.Second
)

// api is the HTTP face.
type api struct {
	dir *directory
	log *slog.Logger
}

func newAPI(dir *directory, log *slog.Logger) http.Handler {
	a := &api{dir, log}
	r := httpapi.NewRouter(nil, log)
	r.Plain("GET", "/ping", access.Free, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("OK")) })
	r.On("GET", "/info", access.Look, a.info)
	r.OnHeavy("GET", "/topics", access.Look, a.topics)
	r.OnHeavy("GET", "/channels", access.Look, a.channels)
	r.OnHeavy("GET", "/lookup", access.Look, a.lookup)
	r.OnHeavy("GET", "/nodes", access.Look, a.nodes)
	r.OnHeavy("GET", "/debug", access.Look, a.debug)
	for _, change := range []struct {
		path, old string // old is what the path was before NSQ 1.0
		handle    httpapi.Handler
	}{
		{"/topic/create", "/create_topic", a.createTopic},
		{"/topic/delete", "/delete_topic", a.deleteTopic},
		{"/topic/tombstone", "/tombstone_topic_producer", a.tombstone},
		{"/channel/create", "/create_channel", a.createChannel},
		{"/channel/delete", "/delete_channel", a.deleteChannel},
	} {
		r.On("POST", change.path, access.Change, change.handle)
		r.On("POST", change.old, access.Change, change.handle)
		r.On("GET", change.old, access.Change, change.handle)
	}
	r.Profiles()
	return httpapi.Patient(r, bodyTimeout, answerTimeout)
}

func (a *api) createTopic(_ *http.Request, q url.Values) (any, error) {
	topic, err := httpapi.NameArgument(q, "topic", "INVALID_ARG_TOPIC")
	if err != nil {
		return nil, err
	}
	a.dir.change(func(r *registry.Registry, _ time.Time) { r.CreateTopic(topic) })
	a.log.Info("topic created", "topic", topic)
	return nil, nil
}

func (a *api) deleteTopic(_ *http.Request, q url.Values) (any, error) {
	topic, err := httpapi.Argument(q, "topic")
	if err != nil {
		return nil, err
	}
	var known bool
	a.dir.change(func(r *registry.Registry, _ time.Time) { known = r.DeleteTopic(topic) })
	if known {
		a.log.Info("topic deleted", "topic", topic)
	}
	return nil, nil
}

func (a *api) tombstone(_ *http.Request, q url.Values) (any, error) {
	topic, err := httpapi.Argument(q, "topic")
	if err != nil {
		return nil, err
	}
	node, err := httpapi.Argument(q, "node")
	if err != nil {
		return nil, err
	}
	var hidden int
	a.dir.change(func(r *registry.Registry, now time.Time) { hidden = r.Tombstone(topic, node, 0, now) })
	if hidden > 0 {
		a.log.Info("tombstone set", "topic", topic, "node", node)
	}
	return nil, nil
}

func (a *api) createChannel(_ *http.Request, q url.Values) (any, error) {
	topic, channel, err := httpapi.ChannelArguments(q)
	if err != nil {
		return nil, err
	}
	a.dir.change(func(r *registry.Registry, _ time.Time) { r.CreateChannel(topic, channel) })
	a.log.Info("channel created", "topic", topic, "channel", channel)
	return nil, nil
}

func (a *api) deleteChannel(_ *http.Request, q url.Values) (any, error) {
	topic, channel, err := httpapi.ChannelArguments(q)
	if err != nil {
		return nil, err
	}
	var known bool
	a.dir.change(func(r *registry.Registry, _ time.Time) { known = r.DeleteChannel(topic, channel) })
	if !known {
		return nil, &httpapi.Error{Status: http.StatusNotFound, Code: "CHANNEL_NOT_FOUND"}
	}
	a.log.Info("channel deleted", "topic", topic, "channel", channel)
	return nil, nil
}
