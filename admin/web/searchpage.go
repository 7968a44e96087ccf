package web

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/admin/messages"
	"github.com/millrace-mq/millrace/admin/search"
	"github.com/millrace-mq/millrace/admin/web/body"
)

const (
	searchHits    = 100 // names of a page
	searchClients = 50
)

// searchPage is what was found.
type searchPage struct {
	*view
	Text     string
	Hits     []foundName
	More     int
	Clients  []fleet.Client
	IsID     bool // it may be a message's ID
	Messages []messages.Message
	Failed   []audit.Result // nodes that could not say whether they have it
}

// foundName is a hit and where it leads.
type foundName struct{ Kind, Name, Detail, URL string }

var messageID = regexp.MustCompile(`^[0-9a-f]{16}$`)

// asMessageID is what was typed as a message's ID, if it can be one.
func asMessageID(text string) (id string, ok bool) {
	id = strings.ToLower(strings.TrimSpace(text))
	return id, messageID.MatchString(id)
}

// placeOf is the name of what was found, and the path of its page.
func (u *UI) placeOf(h search.Hit) (name, path string) {
	switch h.Kind {
	case search.Channel:
		return h.Topic + "/" + h.Channel, u.path("/topics", h.Topic, h.Channel)
	case search.Topic:
		return h.Topic, u.path("/topics", h.Topic)
	}
	return h.Node, u.path("/nodes", h.Node)
}

func (u *UI) search(v *view) (any, error) {
	p := searchPage{view: v, Text: strings.TrimSpace(v.Query.Get("q"))}
	v.Title = "Search"
	if p.Text == "" {
		return p, nil
	}
	v.API = "/api/search" + withQuery("", url.Values{"q": {p.Text}})
	v.Title = "Search for " + body.Line([]byte(p.Text), false, 60)
	p.Hits, p.More = u.hits(v.Snapshot, p.Text, searchHits)
	p.findClients(u)
	if id, ok := asMessageID(p.Text); ok && u.Messages != nil {
		p.IsID = true
		var err error
		p.Messages, p.Failed, err = u.Messages.Find(v.Context(), v.Who, id, "", "")
		if err != nil && !errors.Is(err, messages.ErrNotFound) {
			return nil, lookingProblem(err)
		}
	}
	return p, nil
}

// hits are the names in which the text is.
func (u *UI) hits(s *fleet.Snapshot, text string, limit int) ([]foundName, int) {
	hits, more := search.Names(s, text, limit)
	found := make([]foundName, len(hits))
	for i, h := range hits {
		name, at := u.placeOf(h)
		found[i] = foundName{h.Kind.String(), name, h.Hostname, at}
	}
	return found, more
}

// findClients looks for connections by what they call themselves, their host and
// their address. The nodes are asked at a time; the source asks each once a period.
func (p *searchPage) findClients(u *UI) {
	ctx, cancel := context.WithTimeout(p.Context(), clientsTimeout)
	defer cancel()
	text := strings.ToLower(p.Text)
	for _, c := range u.allClients(ctx, p.Snapshot) {
		for _, s := range []string{c.ID, c.Hostname, c.RemoteAddress, c.UserAgent, c.AuthIdentity} {
			if strings.Contains(strings.ToLower(s), text) {
				p.Clients = append(p.Clients, c)
				break
			}
		}
	}
	slices.SortFunc(p.Clients, func(a, b fleet.Client) int {
		return cmp.Or(cmp.Compare(a.Hostname, b.Hostname), cmp.Compare(a.RemoteAddress, b.RemoteAddress), cmp.Compare(a.Node, b.Node))
	})
	p.Clients = p.Clients[:min(len(p.Clients), searchClients)]
}

// allClients are the connections of all nodes that are up and answer in time.
func (u *UI) allClients(ctx context.Context, s *fleet.Snapshot) (all []fleet.Client) {
	answers := make(chan []fleet.Client)
	asked := 0
	for _, n := range s.Nodes {
		if n.Up {
			asked++
			go func() { // received from below, in any case
				clients, _ := u.Source.Clients(ctx, "", "", n.Address)
				answers <- clients
			}()
		}
	}
	for range asked {
		all = append(all, <-answers...)
	}
	return all
}
