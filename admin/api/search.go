package api

import (
	"net/http"
	"net/url"

	"github.com/millrace-mq/millrace/admin/search"
	"github.com/millrace-mq/millrace/admin/signin"
	"github.com/millrace-mq/millrace/internal/httpapi"
	"github.com/millrace-mq/millrace/protocol"
)

const (
	defaultHits = 50
	maxHits     = 1000
	maxSearch   = 512 // bytes
)

// hitView is something that was found.
type hitView struct {
	Kind     string `json:"kind"` // topic, channel, node, message
	Topic    string `json:"topic,omitempty"`
	Channel  string `json:"channel,omitempty"`
	Node     string `json:"node,omitempty"`
	Hostname string `json:"hostname,omitempty"`
	ID       string `json:"id,omitempty"`
}

// search finds topics, channels and nodes by a part of their names, and a message by
// its ID.
func (a *api) search(r *http.Request, q url.Values) (any, error) {
	text := q.Get("q")
	if text == "" || len(text) > maxSearch {
		return nil, invalid("q", "must be 1 to 512 bytes of what is looked for")
	}
	limit, err := count(q, "limit", defaultHits, maxHits)
	if err != nil {
		return nil, err
	}
	hits, more := search.Names(a.Source.Latest(), text, limit)
	v := struct {
		Hits   []hitView `json:"hits"` // the closest first
		More   int       `json:"more"` // how many were left out
		Failed []failure `json:"failed"`
	}{[]hitView{}, more, []failure{}}
	if _, isID := protocol.ParseID([]byte(text)); isID {
		found, failed, err := a.Messages.Find(r.Context(), signin.FromContext(r.Context()), text, "", "")
		if e, ok := refusal(err).(*httpapi.Error); ok && e.Status != http.StatusNotFound {
			return nil, e
		}
		for i := range found {
			v.Hits = append(v.Hits, hitView{Kind: "message", Topic: found[i].Topic, Node: found[i].Node, ID: text})
		}
		v.Failed = failures(failed)
	}
	for _, h := range hits {
		v.Hits = append(v.Hits, hitView{Kind: h.Kind.String(), Topic: h.Topic, Channel: h.Channel, Node: h.Node, Hostname: h.Hostname})
	}
	return v, nil
}
