package web

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strconv"

	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/admin/messages"
	"github.com/millrace-mq/millrace/admin/signin"
	"github.com/millrace-mq/millrace/admin/web/body"
)

// Messages looks at messages without touching them, and masks bodies for who may not
// see them; *messages.Reader is one.
type Messages interface {
	List(ctx context.Context, who signin.Who, q messages.Query) (messages.Page, error)
	Find(ctx context.Context, who signin.Who, id, topic, node string) ([]messages.Message, []audit.Result, error)
	Sees(who signin.Who) bool
}

const (
	listLine = 160  // characters of a body in its line of a list
	listShow = 4096 // bytes of it below that line
)

// messagesPage is a channel's messages in a state.
type messagesPage struct {
	*view
	Topic, Channel string
	State          string
	Tabs           []stateTab
	Node           string // the one that is asked; empty: all
	Nodes          []string
	Stock          []string // nodes that hold the channel and cannot show messages
	As             string
	Rows           []messageRow
	From           string // behind which the page begins; empty: from the first message
	Next           string
	Failed         []audit.Result
	Masked         bool
	Elsewhere      []stateTab // states that have messages, should this one have none
	Bulk           []button   // done to those that are chosen
	Whole          []button   // done to all that are dead
}

// stateTab is a state that messages can be listed by.
type stateTab struct {
	State, Title string
	Count        int64
	Current      bool
}

// messageRow is a message in a list.
type messageRow struct {
	messages.Message
	Line string
	Body body.View
}

// messages shows what is in a channel. It asks the daemons, so it is no page that
// renews itself: whoever wants newer messages loads it again.
func (u *UI) messages(v *view) (any, error) {
	p := messagesPage{view: v, Topic: v.Param("topic"), Channel: v.Param("channel"), Node: v.Query.Get("node"), From: v.Query.Get("after")}
	v.Title = "Messages of " + p.Topic + "/" + p.Channel
	v.Crumbs = []crumb{{"Topics", "/topics"}, {p.Topic, u.path("/topics", p.Topic)}, {p.Channel, u.path("/topics", p.Topic, p.Channel)}}
	p.State = v.Query.Get("state")
	if p.State == "" {
		p.State = "ready"
	}
	if !slices.Contains(messages.States, p.State) {
		return nil, badRequest("Messages are ready, in_flight, deferred or dead; the address asks for another state.")
	}
	if form, ok := body.ParseForm(v.Query.Get("as")); ok {
		p.As = string(form)
	}
	v.API = u.path("/api/messages", "?topic", p.Topic, "channel", p.Channel, "state", p.State, "node", p.Node, "after", p.From)
	p.standing()
	if u.Messages == nil {
		return nil, errors.New("no reader of messages was given to the pages")
	}
	if p.cannotShow() {
		return p, nil
	}
	limit, _ := strconv.Atoi(v.Query.Get("limit"))
	page, err := u.Messages.List(v.Context(), v.Who, messages.Query{
		Topic: p.Topic, Channel: p.Channel, State: p.State, Node: p.Node, After: p.From, Limit: limit, Show: listShow,
	})
	if err != nil {
		return nil, lookingProblem(err)
	}
	u.offer(&p)
	p.Next, p.Failed, p.Masked = page.Next, page.Failed, !u.Messages.Sees(v.Who)
	for _, m := range page.Messages {
		row := messageRow{Message: m}
		if m.Bytes != nil {
			row.Line = body.Line(m.Bytes, m.Truncated, listLine)
			row.Body = body.Show(m.Bytes, m.Truncated, body.Form(p.As))
		}
		p.Rows = append(p.Rows, row)
	}
	return p, nil
}

// standing takes from the snapshot how many messages there are in each state, and
// where.
func (p *messagesPage) standing() {
	var f fleet.Figures
	if c := p.Snapshot.Channel(p.Topic, p.Channel); c != nil {
		f = c.Figures
		for _, n := range c.Nodes {
			p.Nodes = append(p.Nodes, n.Node)
			if n.Node == p.Node {
				f = n.Figures
			}
			if node := p.Snapshot.Node(n.Node); node != nil && node.Up && !node.Millrace && (p.Node == "" || p.Node == n.Node) {
				p.Stock = append(p.Stock, n.Node)
			}
		}
	}
	p.Tabs = []stateTab{
		{State: "ready", Title: "Ready", Count: f.Depth},
		{State: "in_flight", Title: "In flight", Count: f.InFlight},
		{State: "deferred", Title: "Deferred", Count: f.Deferred},
		{State: "dead", Title: "Dead", Count: f.Dead},
	}
	for i := range p.Tabs {
		p.Tabs[i].Current = p.Tabs[i].State == p.State
		if t := p.Tabs[i]; !t.Current && t.Count > 0 {
			p.Elsewhere = append(p.Elsewhere, t)
		}
	}
}

// cannotShow reports that every node that would be asked is an nsqd.
func (p *messagesPage) cannotShow() bool {
	asked := len(p.Nodes)
	if p.Node != "" {
		asked = 1
	}
	return asked > 0 && len(p.Stock) == asked
}

// CannotShow is cannotShow for the template.
func (p messagesPage) CannotShow() bool { return p.cannotShow() }

// Columns is how many a message's row has behind the box to choose it.
func (p messagesPage) Columns() int {
	if p.State == "ready" {
		return 6
	}
	return 7
}

// deadActions are what can be done with dead messages, and what a button says where it
// is clear that they are meant.
var deadActions = []struct{ name, word string }{
	{"revive", "Revive"}, {"copy", "Copy"}, {"move", "Move"}, {"delete-dead", "Delete"},
}

// offer sets what the viewer may do with dead messages.
func (u *UI) offer(p *messagesPage) {
	if p.State != "dead" {
		return
	}
	for _, a := range deadActions {
		for _, b := range u.buttons(p.view, []string{a.name}) {
			p.Bulk = append(p.Bulk, button{a.word, b.URL, b.Grave})
		}
		for _, b := range u.buttons(p.view, []string{a.name}, "?topic", p.Topic, "channel", p.Channel, "node", p.Node, "all", "true", "state", "dead") {
			p.Whole = append(p.Whole, button{a.word + " all", b.URL, b.Grave})
		}
	}
}

// Word is the state as people say it.
func (t stateTab) Word() string { return stateWord(t.State) }

// StateWord is the state as people say it.
func (p messagesPage) StateWord() string { return stateWord(p.State) }

func stateWord(state string) string {
	if state == "in_flight" {
		return "in flight"
	}
	return state
}

// lookingProblem is the page for an error of Messages.
func lookingProblem(err error) error {
	switch {
	case errors.Is(err, messages.ErrNotFound):
		return notFound("%s.", capital(err.Error()))
	case errors.Is(err, messages.ErrInvalid):
		return badRequest("%s.", capital(err.Error()))
	}
	return err
}

// rawURL is where a message's body is downloaded.
func (u *UI) rawURL(topic, id, node string) string {
	return u.path("/topics", topic, "messages", id, "raw") + withQuery("", url.Values{"node": {node}})
}
