package messages

import (
	"context"
	"net/url"
	"slices"
	"strconv"

	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/signin"
	"github.com/millrace-mq/millrace/protocol"
)

const (
	// DefaultLimit and MaxLimit are messages of a page.
	DefaultLimit = 50
	MaxLimit     = 500
	// DefaultShow and MaxShow are bytes of each body in a page, MaxWhole of a single message.
	DefaultShow = 1 << 10
	MaxShow     = 64 << 10
	MaxWhole    = 1 << 20

	// listBytes bounds the bodies that a page has all nodes together send.
	listBytes = 32 << 20
)

// Query is what is asked for of a channel.
type Query struct {
	Topic, Channel string
	State          string // one of States
	Node           string // an address; empty: all that have the topic
	After          string // Page.Next of the page before; with Node also an ID; empty: from the first
	Limit          int    // messages; 0 is DefaultLimit, above MaxLimit is MaxLimit
	Show           int    // bytes of each body; 0 is DefaultShow, negative none, above MaxShow is MaxShow
}

// Page is some of a channel's messages, by time.
type Page struct {
	Messages []Message
	Next     string         // Query.After of the next page; empty at the end
	Failed   []audit.Result // nodes whose messages may be missing, and why
}

// List reads a page. A node that fails is in Page.Failed, and the rest is there. The
// error is ErrInvalid or ErrNotFound, or that of the context.
func (r *Reader) List(ctx context.Context, who signin.Who, q Query) (Page, error) {
	from, err := q.check()
	if err != nil {
		return Page{}, err
	}
	nodes, down, err := r.nodesOf(q.Topic, q.Node)
	if err != nil {
		return Page{}, err
	}
	masked := !r.Sees(who)
	args := q.arguments(masked, len(nodes))
	parts := make(map[string]*part, len(nodes))
	for _, n := range nodes {
		parts[n] = &part{node: n} // filled below, each by one goroutine
	}
	answers, err := r.each(ctx, nodes, func(ctx context.Context, node string) audit.Result {
		return r.readPart(ctx, parts[node], q, from, args, masked)
	})
	if err != nil {
		return Page{}, err
	}
	var have []*part
	absent := 0
	page := Page{Failed: down}
	for i, a := range answers {
		p := parts[nodes[i]]
		switch {
		case p.absent:
			absent++
		case !a.OK:
			page.Failed = append(page.Failed, a)
		default:
			have = append(have, p)
		}
	}
	if len(have) == 0 && len(page.Failed) == 0 {
		return Page{}, notFound("no node has channel %s of topic %s", q.Channel, q.Topic)
	}
	page.Messages, page.Next = merge(have, from, q.limit())
	return page, nil
}

// check returns where to go on from.
func (q *Query) check() (cursor, error) {
	switch {
	case !protocol.ValidName(q.Topic):
		return nil, invalid("%q is no name of a topic", q.Topic)
	case !protocol.ValidName(q.Channel):
		return nil, invalid("%q is no name of a channel", q.Channel)
	case !slices.Contains(States, q.State):
		return nil, invalid("state must be ready, in_flight, deferred or dead; %q is not", q.State)
	}
	return parseCursor(q.After, q.Node)
}

func (q *Query) limit() int {
	if q.Limit <= 0 {
		return DefaultLimit
	}
	return min(q.Limit, MaxLimit)
}

// show is how much of each body is asked for.
func (q *Query) show(masked bool, nodes int) int {
	switch {
	case masked || q.Show < 0:
		return 0
	case q.Show == 0:
		return DefaultShow
	}
	return min(q.Show, MaxShow, max(DefaultShow, listBytes/(q.limit()*max(nodes, 1))))
}

func (q *Query) arguments(masked bool, nodes int) url.Values {
	return url.Values{
		"topic": {q.Topic}, "channel": {q.Channel}, "state": {q.State},
		"limit": {strconv.Itoa(q.limit())}, "body": {strconv.Itoa(q.show(masked, nodes))},
	}
}

// part is what one node has for a page.
type part struct {
	node     string
	messages []Message // by ID
	more     bool      // it has others behind them
	absent   bool      // it has no such topic or channel
}

// readPart fills p.
func (r *Reader) readPart(ctx context.Context, p *part, q Query, from cursor, args url.Values, masked bool) audit.Result {
	own := make(url.Values, len(args)+1)
	for k, v := range args {
		own[k] = v
	}
	if after := from.after(p.node); after != "" {
		own.Set("after", after)
	}
	var got struct {
		Messages []answer `json:"messages"`
		Next     string   `json:"next"`
	}
	if err := r.cluster.Get(ctx, p.node, "/channel/messages", own, &got); err != nil {
		p.absent = isAbsent(err)
		return audit.Result{Node: p.node, Error: explain(err, "show messages")}
	}
	for i := range got.Messages {
		if checkID(got.Messages[i].ID) != nil {
			return audit.Result{Node: p.node, Error: "its answer is nonsense: a message without an ID"}
		}
		p.messages = append(p.messages, got.Messages[i].message(p.node, q.Topic, q.Channel, masked))
	}
	p.more = got.Next != "" && len(got.Messages) > 0
	return audit.Result{Node: p.node, OK: true}
}

// merge takes the earliest of all parts, at most limit, each part in its own order,
// and returns the cursor behind them. What lies behind a part's end is not known, so
// a part that has more and has been used up ends the page.
func merge(parts []*part, from cursor, limit int) (page []Message, next string) {
	at := make([]int, len(parts))
	for len(page) < limit {
		best := -1
		for i, p := range parts {
			if at[i] == len(p.messages) {
				if p.more {
					return finish(page, from, true)
				}
				continue
			}
			if best < 0 || earlier(&p.messages[at[i]], &parts[best].messages[at[best]]) {
				best = i
			}
		}
		if best < 0 {
			return finish(page, from, false)
		}
		m := parts[best].messages[at[best]]
		at[best]++
		page = append(page, m)
		id, _ := protocol.ParseID([]byte(m.ID))
		from[nodeHash(m.Node)] = id
	}
	more := slices.ContainsFunc(parts, func(p *part) bool { return p.more })
	for i, p := range parts {
		more = more || at[i] < len(p.messages)
	}
	return finish(page, from, more)
}

func earlier(a, b *Message) bool {
	if c := a.Published.Compare(b.Published); c != 0 {
		return c < 0
	}
	return a.Node < b.Node
}

// finish sorts a page: a node's deferred messages have IDs apart from the rest.
func finish(page []Message, c cursor, more bool) ([]Message, string) {
	slices.SortStableFunc(page, func(a, b Message) int { return a.Published.Compare(b.Published) })
	if !more {
		return page, ""
	}
	return page, c.String()
}
