// Package api is the HTTP face of a queue daemon: publishing, the management of
// topics and channels, /stats, and what operators look at when something is
// wrong. Paths, parameters, codes and the order of the checks are nsqd's;
// where nsqd is at fault (a refused publish that leaves a topic behind, acts
// that are answered 500) it is not followed.
package api

import (
	"cmp"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/audit"
	"github.com/millrace-mq/millrace/internal/httpapi"
	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/broker"
	"github.com/millrace-mq/millrace/qd/drain"
	"github.com/millrace-mq/millrace/qd/limits"
	"github.com/millrace-mq/millrace/qd/peers"
	"github.com/millrace-mq/millrace/qd/session"
	"github.com/millrace-mq/millrace/qd/stats"
)

// Bounds is how much requests may ask for.
type Bounds struct {
	MaxMsgSize    int           // of one message, in bytes; positive
	MaxBodySize   int           // of the body of an /mpub, in bytes; positive
	MaxReqTimeout time.Duration // the longest that a publish can be deferred
}

// bounds are those that hold now.
func (c *Config) bounds() Bounds {
	if c.Now != nil {
		return c.Now()
	}
	return c.Bounds
}

// Config is what the API needs to know.
type Config struct {
	Broker *broker.Broker
	// Clients describes all connections of TCP clients, in any order.
	Clients func() []session.Client
	// Disconnect closes the connection with that number, and returns false if there
	// is none; nil if nobody can be disconnected.
	Disconnect func(connection uint64) bool
	Info       func() Info // asked for each time
	Bounds
	// Now, if not nil, is asked for the Bounds at each request: they may change.
	Now func() Bounds
	// Metrics, if not nil, answers /metrics.
	Metrics http.Handler

	// BodyMemory is how many bytes the bodies of all requests together may have at
	// a time, but for the first few KiB of each; 0 is 256 MiB, or sixteen of the
	// largest bodies if that is more. Those beyond it wait, as do those that would
	// give one address more than is left for the others, and are refused after a
	// while.
	BodyMemory int64
	// PageBytes is how many bytes of bodies a page of messages shows before it ends
	// early; 0 is 16 MiB. About as many are read at once.
	PageBytes int

	// Settings are behind /config, and Reload behind /config/reload; one that is nil is
	// not there. Lookupds are behind /lookupds.
	Settings Settings
	Reload   func() (program.Reloaded, error)
	Lookupds Lookupds

	// Limits are what clients may have of what is there for all; nil is none.
	Limits *limits.Limits

	// Drain is behind /drain; nil if there is none.
	Drain *drain.Drain

	// Failures counts who was refused; nil if nobody does.
	Failures *access.Failures
	// Policy says who may do what; nil: everybody everything.
	Policy access.Policy

	// Audit gets a line for each request that is to change something, but for publishes; nil
	// is none. Topics that publishes create are the Broker's to tell of.
	Audit *audit.Writer

	Log *slog.Logger
}

// Info is what /info tells.
type Info struct {
	BroadcastAddress, Hostname   string
	TCPPort, HTTPPort            int // as listened on; -1 for a unix socket
	StartTime                    time.Time
	MaxHeartbeatInterval         time.Duration
	MaxOutputBufferSize          int // bytes
	MaxOutputBufferTimeout       time.Duration
	MaxDeflateLevel              int
	TopologyZone, TopologyRegion string
}

// Lookupds are the lookupds that a daemon registers with.
type Lookupds interface {
	Links() []peers.Link
}

const (
	// bodyTimeout is how long a body may take to arrive, and answerTimeout how
	// long it may take from then on until the client has read the answer.
	// Without them, one that stops half-way would keep what it has of our memory
	// for ever.
	bodyTimeout   = time.Minute
	answerTimeout = time.Minute
)

type api struct {
	Config
	source  stats.Source
	bodies  *httpapi.Budget
	ahead   chan struct{} // held by the bodies that may exceed it
	sparing *httpapi.Sparing
	copying chan struct{} // held by the one who copies or moves messages
}

// New returns the handler of all requests.
func New(c Config) http.Handler {
	return httpapi.Patient(newRouter(c), bodyTimeout, answerTimeout)
}

func newRouter(c Config) *httpapi.Router {
	c.PageBytes = cmp.Or(c.PageBytes, pageBytes)
	shown := c.Limits
	if shown == nil {
		c.Limits = limits.New(limits.Settings{}, c.Broker, c.Log)
	}
	a := &api{
		Config: c, bodies: httpapi.NewBudget(c.bodyMemory()), ahead: make(chan struct{}, bodiesAhead), sparing: httpapi.NewSparing(c.Log),
		copying: make(chan struct{}, 1),
		source:  stats.Source{Broker: c.Broker, Clients: c.Clients, Failures: c.Failures, Limits: shown, Started: c.Info().StartTime},
	}
	r := httpapi.NewRouter(c.Policy, c.Log)
	r.Scope(httpapi.OfTopic, "/pub", "/put", "/mpub", "/mput", "/topic/policy", "/message")
	r.Scope(httpapi.OfChannel, "/channel/policy", "/channel/seek", "/channel/messages", "/message/copy", "/message/move", "/message/revive", "/message/delete")
	if c.Audit != nil {
		r.Watch(c.Audit.Deed, "/message/copy")
	}
	r.Plain("GET", "/ping", access.Free, a.ping)
	r.Plain("GET", "/live", access.Free, a.live)
	r.Plain("GET", "/ready", access.Free, a.ready)
	r.On("GET", "/info", access.Find, a.info)
	r.OnHeavy("GET", "/stats", access.List, a.stats)
	r.On("GET", "/config", access.Stats, a.settings)
	r.On("GET", "/config/:option", access.Stats, a.option)
	r.On("PUT", "/config/:option", access.Manage, a.setOption)
	if c.Reload != nil {
		r.On("POST", "/config/reload", access.Manage, a.reload)
	}
	// The second name of each is what it was before NSQ 1.0.
	for _, path := range []string{"/pub", "/put"} {
		r.OnRaw("POST", path, access.Publish, a.publish)
	}
	for _, path := range []string{"/mpub", "/mput"} {
		r.OnRaw("POST", path, access.Publish, a.publishMany)
	}
	for _, change := range a.changes() {
		scope := httpapi.OfTopic
		if strings.HasPrefix(change.path, "/channel/") {
			scope = httpapi.OfChannel
		}
		r.Scope(scope, change.path, change.old)
		r.On("POST", change.path, access.Manage, change.handle)
		r.On("POST", change.old, access.Manage, change.handle)
		r.On("GET", change.old, access.Manage, change.handle)
	}
	a.routeOperations(r)
	if c.Disconnect != nil {
		r.On("POST", "/client/disconnect", access.Manage, a.disconnect)
	}
	if c.Drain != nil {
		r.On("GET", "/drain", access.Stats, a.drainProgress)
		r.On("POST", "/drain", access.Manage, a.beginDrain)
	}
	if c.Metrics != nil {
		r.PlainHeavy("GET", "/metrics", access.Stats, c.Metrics)
	}
	routeDebug(r)
	return r
}

// routeOperations routes what nsqd does not have. Who sees bodies of messages
// consumes, though he takes none away. Nothing is changed unless all
// arguments are right.
func (a *api) routeOperations(r *httpapi.Router) {
	r.On("GET", "/lookupds", access.Stats, a.links)
	r.On("GET", "/topic/policy", access.Stats, a.topicPolicy)
	r.On("POST", "/topic/policy", access.Manage, a.setTopicPolicy)
	r.On("GET", "/channel/policy", access.Stats, a.channelPolicy)
	r.On("POST", "/channel/policy", access.Manage, a.setChannelPolicy)
	r.On("POST", "/channel/seek", access.Manage, a.seek)
	r.OnHeavy("GET", "/channel/messages", access.Look, a.channelMessages)
	r.OnHeavy("GET", "/message", access.Look, a.message)
	r.On("POST", "/message/copy", access.Look, a.copyMessages)
	r.On("POST", "/message/move", access.Manage, a.moveMessages)
	r.On("POST", "/message/revive", access.Manage, a.onDead((*broker.Topic).Revive))
	r.On("POST", "/message/delete", access.Manage, a.onDead((*broker.Topic).DeleteDead))
}

// ping answers OK, or why the disk cannot be written.
func (a *api) ping(w http.ResponseWriter, _ *http.Request) {
	if a.Broker.Health() != nil {
		w.WriteHeader(http.StatusInternalServerError)
	}
	_, _ = w.Write([]byte(a.source.Health()))
}

func (a *api) info(*http.Request, url.Values) (any, error) {
	info := a.Info()
	return struct {
		Version                string        `json:"version"`
		BroadcastAddress       string        `json:"broadcast_address"`
		Hostname               string        `json:"hostname"`
		HTTPPort               int           `json:"http_port"`
		TCPPort                int           `json:"tcp_port"`
		StartTime              int64         `json:"start_time"`
		MaxHeartbeatInterval   time.Duration `json:"max_heartbeat_interval"`
		MaxOutputBufferSize    int           `json:"max_output_buffer_size"`
		MaxOutputBufferTimeout time.Duration `json:"max_output_buffer_timeout"`
		MaxDeflateLevel        int           `json:"max_deflate_level"`
		TopologyZone           string        `json:"topology_zone"`
		TopologyRegion         string        `json:"topology_region"`
	}{
		protocol.Version, info.BroadcastAddress, info.Hostname, info.HTTPPort, info.TCPPort,
		info.StartTime.Unix(), info.MaxHeartbeatInterval, info.MaxOutputBufferSize,
		info.MaxOutputBufferTimeout, info.MaxDeflateLevel, info.TopologyZone, info.TopologyRegion,
	}, nil
}
