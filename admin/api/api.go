// Package api is the admin over HTTP, for scripts: nsqadmin's JSON API under its
// paths, with its answers, and what is ours beside it. Whatever changes something goes
// through package actions, so roles and the audit log are the same as for pages.
//
// What nsqadmin has is read from lookupds and daemons when it is asked for, as
// nsqadmin does, and not from the newest snapshot: scripts look at what they, or
// somebody else, have changed at a daemon a moment ago. It is bounded how many such
// readings there are at a time, and how much of what they read waits for clients that do
// not take it. What is ours is from the snapshot, which has its time with it, but for what
// only a daemon can tell: connections, messages and settings.
package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/millrace-mq/millrace/admin/actions"
	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/cluster"
	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/admin/history"
	"github.com/millrace-mq/millrace/admin/messages"
	"github.com/millrace-mq/millrace/admin/signin"
	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/httpapi"
	"github.com/millrace-mq/millrace/internal/program"
)

// Source knows the daemons; the sampler is one.
type Source interface {
	// Latest is the newest snapshot, never nil; its At is zero before the first.
	Latest() *fleet.Snapshot
	// Changed is closed when there is a newer snapshot than Latest had at the call.
	Changed() <-chan struct{}
	// Clients are the consumers of a channel, the producers of a topic (channel is
	// empty), or the connections of a node (only node is given), and which nodes were
	// asked for them.
	Clients(ctx context.Context, topic, channel, node string) ([]fleet.Client, []audit.Result)
	// Poke has it look soon: somebody has changed something.
	Poke()
}

// Settings are what the API shows and does things with. All must be given but for what
// says otherwise.
type Settings struct {
	Source   Source
	Cluster  *cluster.Cluster
	History  *history.Store
	Messages *messages.Reader
	Actions  *actions.Actions
	Audit    *audit.Log

	ClusterName, Environment string // may be empty

	// Own are the admin's settings as they are now, and Set changes one, by its key in
	// config files. Its errors are those of program.Running's. Reload reads all again.
	// nil: there are none.
	Own    func() []program.Setting
	Set    func(key string, value []byte) error
	Reload func() (program.Reloaded, error)
	// ReadOnly refuses to change settings; all else is refused by Actions.
	ReadOnly bool
	// ConfigFrom is the network, or the address, from which /config may be asked, such as
	// 127.0.0.1/8; empty is any.
	ConfigFrom string
	Log        *slog.Logger
}

// api is the handlers.
type api struct{ Settings }

// New returns a handler of /api/…, /config/… and /ping. Who asks is found by
// signin.FromContext.
func New(s Settings) http.Handler {
	a := &api{s}
	r := httpapi.NewRouter(nil, s.Log)
	r.NoRedirects()
	r.Plain(http.MethodGet, "/ping", access.Free, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("OK")) })
	a.routeNSQ(r)
	a.routeOurs(r)
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		// Answers are of this moment, and some have bodies of messages in them.
		w.Header().Set("Cache-Control", "no-store")
		r.ServeHTTP(w, withoutSlash(req))
	})
}

// withoutSlash is a request without the slash at the end of its path: nsqadmin redirects
// from there, but a redirect from here would not know the base path.
func withoutSlash(r *http.Request) *http.Request {
	path, ok := strings.CutSuffix(r.URL.Path, "/")
	if !ok || path == "" {
		return r
	}
	inner, u := *r, *r.URL
	u.Path, u.RawPath = path, strings.TrimSuffix(u.RawPath, "/")
	inner.URL = &u
	return &inner
}

func (a *api) routeNSQ(r *httpapi.Router) {
	get := func(path string, h httpapi.Handler) { r.OnHeavy(http.MethodGet, path, access.Stats, forViewers(h)) }
	free := func(path string, h httpapi.Handler) { r.On(http.MethodGet, path, access.Stats, forViewers(h)) }
	change := func(method, path string, h httpapi.Handler) { r.On(method, path, access.Manage, h) }
	get("/api/topics", a.topics)
	get("/api/topics/:topic", a.topic)
	get("/api/topics/:topic/:channel", a.channel)
	get("/api/nodes", a.nodes)
	get("/api/nodes/:node", a.node)
	free("/api/counter", a.counter)
	free("/api/graphite", graphite)
	change(http.MethodPost, "/api/topics", a.create)
	change(http.MethodPost, "/api/topics/:topic", a.change)
	change(http.MethodPost, "/api/topics/:topic/:channel", a.change)
	change(http.MethodDelete, "/api/topics/:topic", a.remove)
	change(http.MethodDelete, "/api/topics/:topic/:channel", a.remove)
	change(http.MethodDelete, "/api/nodes/:node", a.tombstone)
	r.On(http.MethodGet, "/config/:option", access.Stats, a.option)
	r.On(http.MethodPut, "/config/:option", access.Manage, a.setOption)
	if a.Reload != nil {
		r.On(http.MethodPost, "/config/reload", access.Manage, a.reloadSettings)
	}
}

func (a *api) routeOurs(r *httpapi.Router) {
	get := func(path string, h httpapi.Handler) { r.On(http.MethodGet, path, access.Stats, forViewers(h)) }
	large := func(path string, h httpapi.Handler) { r.OnHeavy(http.MethodGet, path, access.Stats, forViewers(h)) }
	get("/api/overview", a.overview)
	large("/api/clients", a.clients)
	large("/api/messages", a.messages)
	large("/api/message", a.message)
	get("/api/search", a.search)
	get("/api/audit", a.audit)
	large("/api/settings", a.settings)
	get("/api/actions", a.actionTable)
	r.Plain(http.MethodGet, "/api/history", access.Stats, a.history)
	r.Plain(http.MethodPost, "/api/actions", access.Manage, a.act)
}

// forViewers is h for who may look. The rest is refused before anything is read.
func forViewers(h httpapi.Handler) httpapi.Handler {
	return func(r *http.Request, q url.Values) (any, error) {
		if err := mayLook(r); err != nil {
			return nil, err
		}
		return h(r, q)
	}
}

func mayLook(r *http.Request) error {
	switch who := signin.FromContext(r.Context()); {
	case who.Role >= signin.Viewer:
		return nil
	case who.Name != "":
		return httpapi.Errorf(http.StatusForbidden, "FORBIDDEN: %s is known, and has no role here", who.Name)
	}
	return httpapi.Errorf(http.StatusUnauthorized, "UNAUTHORIZED: sign in first")
}

// refusal makes an answer of an error of those that are asked.
func refusal(err error) error {
	if err == nil {
		return nil
	}
	if r, ok := errors.AsType[*actions.Refused](err); ok {
		return httpapi.Errorf(r.Status, "%s: %s", r.Code, r.Sentence)
	}
	switch {
	case errors.Is(err, messages.ErrInvalid):
		return httpapi.Errorf(http.StatusBadRequest, "INVALID_REQUEST: %v", err)
	case errors.Is(err, messages.ErrNotFound):
		return httpapi.Errorf(http.StatusNotFound, "NOT_FOUND: %v", err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return httpapi.Errorf(http.StatusServiceUnavailable, "TIMEOUT: the answer did not come in time")
	}
	return err
}

// when is a time in our answers; none if it is not known.
func when(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := t.UTC().Format(time.RFC3339Nano)
	return &s
}
