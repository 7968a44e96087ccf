package audit

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/httpapi"
)

// ForHeader has, escaped as a part of a URL's path is, the name of whom a request is
// made for: an admin sends it with what people do there. It is believed from those who
// may change what the request is about, for they could do it in any name.
const ForHeader = "X-Millrace-For"

// How somebody has shown who he is, where he has shown nothing himself.
const (
	passedOn = "passed on" // Through says so, who may
	claimed  = "claimed"   // anybody could say so: there is no policy, or it lets anyone
)

// actions are those routes whose name in the log is not made of their path: they are
// called as the admin's actions are.
var actions = map[string]string{
	"/topic/policy": "topic-policy", "/channel/policy": "channel-policy", "/channel/seek": "seek",
	"/message/copy": "copy", "/message/move": "move", "/message/revive": "revive", "/message/delete": "delete-dead",
	"/client/disconnect": "disconnect", "/drain": "drain-node", "/config/:option": "configure", "/config/reload": "reload",
	"/topic/tombstone": "tombstone", "/tombstone_topic_producer": "tombstone",
	"/debug/setblockrate": "set-block-rate", "/debug/freememory": "free-memory",
}

// ActionOf names what requests for a path do: /topic/create is create-topic, and so was
// /create_topic.
func ActionOf(path string) string {
	if action, ok := actions[path]; ok {
		return action
	}
	on, do, _ := strings.Cut(strings.Trim(path, "/"), "/")
	return strings.NewReplacer("_", "-", "/", "-", ":", "").Replace(strings.Trim(do+"-"+on, "-"))
}

// Deed writes down a request that was to change something. It is for httpapi's
// Router.Watch.
func (w *Writer) Deed(d *httpapi.Deed) {
	if w == nil {
		return
	}
	q := d.Request.URL.Query()
	words, count := d.Details()
	e := Entry{
		Action: ActionOf(d.Path), Topic: q.Get("topic"), Channel: q.Get("channel"), Node: q.Get("node"),
		Detail: arguments(q, words), Done: true,
	}
	r := Result{OK: d.Status == http.StatusOK, Count: count}
	switch {
	case r.OK:
	case d.Status == 0:
		r.Error = "the answer was cut off"
	case d.Status < http.StatusInternalServerError && count == 0:
		e.Refused = cmp.Or(reason(d.Refusal), http.StatusText(d.Status))
	default:
		r.Error = cmp.Or(reason(d.Refusal), http.StatusText(d.Status))
	}
	if e.Refused == "" {
		e.Results = []Result{r}
	}
	w.Put(e.By(sender(d).Actor()))
}

func reason(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// arguments are those of a query that have no place of their own in an entry, and what
// else is to be said.
func arguments(q url.Values, words string) string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(q)) {
		switch lower := strings.ToLower(key); {
		case key == "topic" || key == "channel" || key == "node":
		case strings.Contains(lower, "token") || strings.Contains(lower, "secret") || strings.Contains(lower, "password"):
			all = append(all, key+"=…") // somebody has been careless
		default:
			all = append(all, key+"="+q.Get(key))
		}
	}
	if words != "" {
		all = append(all, words)
	}
	return strings.Join(all, ", ")
}

// request acts for who has sent it.
type request struct {
	*http.Request
	policy  access.Policy
	allowed bool // to change what it is about
	denied  bool // that was asked already
}

// sender is who has sent a request that is to change something.
func sender(d *httpapi.Deed) request {
	change := d.Action == access.Manage
	return request{d.Request, d.Policy, change && !d.Denied, change && d.Denied}
}

// ByRequest returns the context of what is done for who has sent a request, which p
// lets do it; p may be nil.
func ByRequest(r *http.Request, p access.Policy) context.Context {
	return NewContext(r.Context(), request{Request: r, policy: p})
}

// Actor is who has sent it, or for whom.
func (r request) Actor() Actor {
	who := httpapi.WhoOf(r.Request)
	a := Actor{From: who.Remote, UserAgent: r.UserAgent(), Via: HTTP}
	a.Who, a.How = Name(r.policy, who)
	name, err := url.PathUnescape(r.Header.Get(ForHeader))
	if err != nil || name == "" || !r.mayName(who) {
		return a
	}
	a.Through, a.Who, a.How, a.Via = a.Who, name, passedOn, Admin
	if r.policy == nil || a.Through == "" {
		a.How = claimed
	}
	return a
}

// mayName reports whether he is believed whom he does it for.
func (r request) mayName(who access.Who) bool {
	if r.allowed || r.denied {
		return r.allowed
	}
	q := r.URL.Query()
	return access.Ask(r.Context(), r.policy, who, access.Manage, q.Get("topic"), q.Get("channel")) == nil
}

// Name is the name by which somebody is known to p, which may be nil, and how he has
// shown that it is his.
func Name(p access.Policy, who access.Who) (name, how string) {
	if f, ok := p.(interface{ Grant(access.Who) access.Grant }); ok {
		switch g := f.Grant(who); {
		case g.Name == "":
		case g.Secret == access.KnownSecret:
			return g.Name, "token"
		default: // whatever else he has shown is none
			return g.Name, "certificate"
		}
	}
	if who.Certificate != nil {
		return who.Certificate.Subject.CommonName, "certificate"
	}
	return "", ""
}
