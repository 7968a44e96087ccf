package lookupd

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/audit"
	"github.com/millrace-mq/millrace/internal/httpapi"
	"github.com/millrace-mq/millrace/internal/limit"
	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/lookupd/metrics"
	"github.com/millrace-mq/millrace/lookupd/registry"
	"github.com/millrace-mq/millrace/protocol"
)

const (
	// bodyTimeout is how long a body may take to arrive. None is wanted, but
	// net/http reads the beginning of it before it looks for another request.
	bodyTimeout = 10 * time.Second

	// answerTimeout is how long a client may take to read an answer. Without it
	// one that stops reading would keep its answer in our memory for ever. A
	// listing has as long for each part (httpapi.Stream).
	answerTimeout = 30 * time.Second
)

// api is the HTTP face.
type api struct {
	dir         *directory
	policy      access.Policy      // nil: everybody may do everything
	connections *limit.Connections // of HTTP; nil: not counted
	tcp         func() metrics.TCP // figures of the other face; nil: none
	audit       *audit.Writer      // nil: there is no audit log
	log         *slog.Logger

	settings settings                         // behind /config; nil: there is none
	reload   func() (program.Reloaded, error) // behind /config/reload; nil: there is none

	stopping func() bool // /ready says so; nil: never
}

func (a *api) handler() http.Handler {
	return httpapi.Patient(a.router(), bodyTimeout, answerTimeout)
}

func (a *api) router() *httpapi.Router {
	r := httpapi.NewRouter(a.policy, a.log)
	if a.audit != nil {
		r.Watch(a.audit.Deed)
	}
	r.Scope(httpapi.OfTopic, "/channels", "/lookup", "/producers/available", "/topic/create", "/topic/delete", "/topic/tombstone",
		"/create_topic", "/delete_topic", "/tombstone_topic_producer")
	r.Scope(httpapi.OfChannel, "/channel/create", "/channel/delete", "/create_channel", "/delete_channel")
	requests := metrics.NewRequests()
	r.Observe(requests.Observe)
	r.Plain("GET", "/ping", access.Free, ok)
	r.Plain("GET", "/live", access.Free, ok)
	r.Plain("GET", "/ready", access.Free, a.ready)
	r.On("GET", "/info", access.Find, a.info)
	a.routeConfig(r)
	r.OnStream("GET", "/topics", access.Find, a.topics)
	r.OnStream("GET", "/channels", access.Find, a.channels)
	r.OnStream("GET", "/lookup", access.Find, a.lookup)
	r.OnStream("GET", "/nodes", access.Find, a.nodes)
	r.OnStream("GET", "/producers/available", access.Find, a.available)
	r.OnStream("GET", "/debug", access.Stats, a.debug)
	r.PlainHeavy("GET", "/metrics", access.Stats, metrics.Handler(a.figures, requests, a.log))
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
		r.On("POST", change.path, access.Manage, change.handle)
		r.On("POST", change.old, access.Manage, change.handle)
		r.On("GET", change.old, access.Manage, change.handle)
	}
	r.Profiles()
	return r
}

func ok(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "OK") }

// ready says whether requests should be sent here.
func (a *api) ready(w http.ResponseWriter, r *http.Request) {
	if a.stopping != nil && a.stopping() {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, "STOPPING: this lookupd is about to end; ask another")
		return
	}
	ok(w, r)
}

func (a *api) info(*http.Request, url.Values) (any, error) {
	return map[string]string{"version": protocol.Version}, nil
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

func (a *api) deleteTopic(r *http.Request, q url.Values) (any, error) {
	topic, err := httpapi.Argument(q, "topic")
	if err != nil {
		return nil, err
	}
	var known bool
	a.dir.change(func(r *registry.Registry, _ time.Time) { known = r.DeleteTopic(topic) })
	if known {
		a.log.Info("topic deleted", "topic", topic)
	} else {
		httpapi.Tell(r, "it was not known")
	}
	return nil, nil
}

func (a *api) tombstone(r *http.Request, q url.Values) (any, error) {
	topic, err := httpapi.Argument(q, "topic")
	if err != nil {
		return nil, err
	}
	node, err := httpapi.Argument(q, "node")
	if err != nil {
		return nil, err
	}
	generation, err := generationArgument(q)
	if err != nil {
		return nil, err
	}
	var hidden int
	a.dir.change(func(r *registry.Registry, now time.Time) { hidden = r.Tombstone(topic, node, generation, now) })
	if hidden > 0 {
		a.log.Info("tombstone set", "topic", topic, "node", node, "generation", generation)
	} else {
		httpapi.Tell(r, "the node does not have the topic")
	}
	return nil, nil
}

// generationArgument returns the generation that is to be buried, with those before
// it; 0, if none is given, is whatever there is.
func generationArgument(q url.Values) (uint64, error) {
	if !q.Has("generation") {
		return 0, nil
	}
	// ParseUint takes no signs.
	generation, err := strconv.ParseUint(q.Get("generation"), 10, 64)
	if err == nil && generation == 0 {
		err = errors.New("too small")
	}
	if err != nil {
		return 0, invalid("generation", "must be a whole number from 1 to 18446744073709551615, as /debug shows it")
	}
	return generation, nil
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
