package api

import (
	"net/http"
	"net/url"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/httpapi"
	"github.com/millrace-mq/millrace/qd/stats"
)

// stats is /stats, as JSON or as text for people, with the topics and channels that
// who asks may see.
func (a *api) stats(r *http.Request, q url.Values) (any, error) {
	all := a.source.Gather(stats.Selection{
		Topic: q.Get("topic"), Channel: q.Get("channel"),
		Clients: wanted(q.Get("include_clients")), Memory: wanted(q.Get("include_mem")),
		Percentiles: true,
		Sees:        httpapi.View(r, a.Policy, access.Stats),
	})
	if q.Get("format") == "json" {
		return all, nil
	}
	return all.Text(a.source.Started), nil
}

// wanted reads a parameter that is true unless it is false.
func wanted(value string) bool { return value != "false" && value != "0" }
