package messages_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/cluster/clustertest"
	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/admin/messages"
	"github.com/millrace-mq/millrace/admin/signin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	operator = signin.Who{Name: "otto", Role: signin.Operator}
	viewer   = signin.Who{Name: "vera", Role: signin.Viewer}
)

// bed is a Reader on a played fleet.
type bed struct {
	t *testing.T
	*clustertest.Fleet
	*messages.Reader
}

func start(t *testing.T, options ...clustertest.Option) *bed {
	f := clustertest.NewFleet(t, append(options, clustertest.InMemory())...)
	return &bed{t, f, messages.New(signin.Nobody, f.Cluster(t), func() *fleet.Snapshot { return f.Snapshot() })}
}

// put puts a message into topic-00000/channel-0 of a node, published at a second.
func (b *bed) put(node int, state string, second int, body string) {
	b.Nodes[node].Change(func(d *clustertest.Daemon) {
		c := d.Topic("topic-00000").Channel("channel-0")
		id := d.Show(c, state, []byte(body))
		for i := range c.Listed {
			if c.Listed[i].ID == id {
				c.Listed[i].Published = time.Unix(int64(second), 0)
			}
		}
	})
}

var query = messages.Query{Topic: "topic-00000", Channel: "channel-0", State: "ready"}

func bodies(all []messages.Message) string {
	var list []string
	for _, m := range all {
		list = append(list, string(m.Bytes))
	}
	return strings.Join(list, " ")
}

func failed(results []audit.Result) string {
	var list []string
	for _, r := range results {
		list = append(list, r.Node+": "+r.Error)
	}
	return strings.Join(list, "\n")
}

// pages reads all pages, and returns their bodies.
func (b *bed) pages(q messages.Query) (list []string) {
	b.t.Helper()
	for range 100 {
		p, err := b.List(b.t.Context(), operator, q)
		if err != nil {
			b.t.Fatal(err)
		}
		list = append(list, bodies(p.Messages))
		if q.After = p.Next; q.After == "" {
			return list
		}
	}
	b.t.Fatal("there is no end")
	return nil
}

// Pages over several nodes are by time, and have each message once.
func TestPages(t *testing.T) {
	b := start(t, clustertest.Nodes(3), clustertest.Topics(1))
	for second := range 10 {
		b.put(second%2, "ready", second, fmt.Sprint(second))
	}
	b.put(2, "dead", 3, "dead")
	for limit, want := range map[int]string{
		0:  "0 1 2 3 4 5 6 7 8 9",
		3:  "0 1 2|3 4 5|6 7 8|9",
		4:  "0 1 2 3|4 5 6 7|8 9",
		10: "0 1 2 3 4 5 6 7 8 9",
	} {
		q := query
		q.Limit = limit
		if got := strings.Join(b.pages(q), "|"); got != want {
			t.Errorf("pages of %d: %s, want %s", limit, got, want)
		}
	}
	q := query
	q.Node, q.Limit = b.Nodes[1].Address(), 2
	if got := strings.Join(b.pages(q), "|"); got != "1 3|5 7|9" {
		t.Errorf("of one node: %s", got)
	}
	first, err := b.List(t.Context(), operator, q)
	if err != nil {
		t.Fatal(err)
	}
	q.After = first.Messages[0].ID
	if got := strings.Join(b.pages(q), "|"); got != "3 5|7 9" {
		t.Errorf("of one node behind an ID: %s", got)
	}
	q = query
	q.State = "dead"
	if got := strings.Join(b.pages(q), "|"); got != "dead" {
		t.Errorf("the dead: %s", got)
	}
}

// A node that has more than a page of old messages does not push aside what the others
// have, and a page that cannot be filled is shorter, not wrong.
func TestUnevenNodes(t *testing.T) {
	b := start(t, clustertest.Nodes(2), clustertest.Topics(1))
	for second := range 7 {
		b.put(0, "ready", second, fmt.Sprint(second))
	}
	b.put(1, "ready", 5, "5b")
	q := query
	q.Limit = 3
	if got := strings.Join(b.pages(q), "|"); got != "0 1 2|3 4 5|5b 6" {
		t.Error(got)
	}
}

// A node that fails for a page goes on at its place with the next.
func TestNodeFailsBetweenPages(t *testing.T) {
	b := start(t, clustertest.Nodes(2), clustertest.Topics(1))
	for second := range 8 {
		b.put(second%2, "ready", second, fmt.Sprint(second))
	}
	q := query
	q.Limit = 2
	page := func(want string, fails bool) {
		t.Helper()
		p, err := b.List(t.Context(), operator, q)
		if err != nil {
			t.Fatal(err)
		}
		if bodies(p.Messages) != want || (len(p.Failed) > 0) != fails {
			t.Errorf("%s, failed %s; want %s", bodies(p.Messages), failed(p.Failed), want)
		}
		q.After = p.Next
	}
	page("0 1", false)
	b.Nodes[1].Fail(500, "INTERNAL_ERROR")
	page("2 4", true)
	b.Nodes[1].Heal()
	page("3 5", false)
	page("6 7", false)
}

// What is not there, what is down, what is no qd, and what is nonsense are told apart.
func TestWhoCannotAnswer(t *testing.T) {
	b := start(t, clustertest.Nodes(4), clustertest.Stock(1), clustertest.Topics(1))
	b.put(0, "ready", 1, "x")
	b.Nodes[1].Answer(http.StatusOK, `{"messages":[{"id":"none"}]}`)
	b.Nodes[2].Change(func(d *clustertest.Daemon) { delete(d.Topic("topic-00000").Channels, "channel-0") })
	p, err := b.List(t.Context(), operator, query)
	if err != nil {
		t.Fatal(err)
	}
	want := "qd-1:4151: its answer is nonsense: a message without an ID\nqd-3:4151: this node is an nsqd or an older qd, and cannot show messages"
	if got := failed(p.Failed); got != want || bodies(p.Messages) != "x" {
		t.Errorf("%s\nwant\n%s\nand have %s", got, want, bodies(p.Messages))
	}

	s := b.Snapshot()
	s.Nodes[0].Up, s.Nodes[0].Error = false, "no answer within 5s"
	r := messages.New(signin.Nobody, b.Cluster(t), func() *fleet.Snapshot { return s })
	if p, err = r.List(t.Context(), operator, query); err != nil || len(p.Messages) != 0 ||
		!strings.HasPrefix(failed(p.Failed), "qd-0:4151: not asked, because it is down: no answer within 5s\n") {
		t.Errorf("%v, %s", err, failed(p.Failed))
	}
	q := query
	q.Node = "qd-0:4151" // who names it has it asked
	if p, err = r.List(t.Context(), operator, q); err != nil || bodies(p.Messages) != "x" {
		t.Errorf("%v, %s", err, bodies(p.Messages))
	}
}

func TestAskedWrong(t *testing.T) {
	b := start(t, clustertest.Topics(1))
	for _, c := range []struct {
		change func(q *messages.Query)
		kind   error
		want   string
	}{
		{func(q *messages.Query) { q.Topic = "a&b" }, messages.ErrInvalid, `"a&b" is no name of a topic`},
		{func(q *messages.Query) { q.Channel = "" }, messages.ErrInvalid, `"" is no name of a channel`},
		{func(q *messages.Query) { q.State = "lost" }, messages.ErrInvalid, `state must be ready, in_flight, deferred or dead; "lost" is not`},
		{func(q *messages.Query) { q.After = "x" }, messages.ErrInvalid, "after must be what the page before gave as next"},
		{func(q *messages.Query) { q.After = "0000000000000001" }, messages.ErrInvalid, "after must be what the page before gave as next"},
		{func(q *messages.Query) { q.Node = "127.0.0.1:22" }, messages.ErrNotFound, "there is no node 127.0.0.1:22"},
		{func(q *messages.Query) { q.Topic = "none" }, messages.ErrNotFound, "no node has channel channel-0 of topic none"},
		{func(q *messages.Query) { q.Channel = "none" }, messages.ErrNotFound, "no node has channel none of topic topic-00000"},
	} {
		q := query
		c.change(&q)
		_, err := b.List(t.Context(), operator, q)
		if !errors.Is(err, c.kind) || err.Error() != c.want {
			t.Errorf("%+v: %v, want %s", q, err, c.want)
		}
	}
}

// Who may not see bodies has none, and none was asked for; not even a node that sends
// one all the same gets it shown.
func TestMasked(t *testing.T) {
	b := start(t, clustertest.Topics(1))
	b.put(0, "ready", 1, "secret")
	p, err := b.List(t.Context(), viewer, query)
	if err != nil {
		t.Fatal(err)
	}
	m := p.Messages[0]
	if !m.Masked || m.Bytes != nil || m.Truncated || m.Size != 6 || m.State != "ready" {
		t.Errorf("%+v", m)
	}
	found, _, err := b.Find(t.Context(), viewer, m.ID, "", "")
	if err != nil || len(found) != 1 || !found[0].Masked || found[0].Bytes != nil {
		t.Errorf("%+v, %v", found, err)
	}
	for _, c := range b.Nodes[0].Calls("") {
		if strings.Contains(c.Path, "message") && c.Query.Get("body") != "0" {
			t.Errorf("%s asked for %q bytes of bodies", c.Path, c.Query.Get("body"))
		}
	}
	b.Nodes[0].AnswerPath("/channel/messages", 200, `{"messages":[{"id":"0000000000000001","size":6,"body":"secret"},{"id":"0000000000000002","body_base64":"c2VjcmV0"}]}`)
	if p, err = b.List(t.Context(), viewer, query); err != nil || p.Messages[0].Bytes != nil || p.Messages[1].Bytes != nil {
		t.Errorf("%+v, %v", p.Messages, err)
	}
	for role, sees := range map[signin.Role]bool{signin.Nobody: false, signin.Viewer: true, signin.Admin: true} {
		if r := messages.New(signin.Viewer, nil, nil); r.Sees(signin.Who{Role: role}) != sees {
			t.Errorf("the role %s sees bodies: %v", role, !sees)
		}
	}
}

func TestBodies(t *testing.T) {
	b := start(t, clustertest.Topics(1))
	b.put(0, "ready", 1, "\xff\x00binary")
	b.put(0, "ready", 2, strings.Repeat("x", 5000))
	b.put(0, "ready", 3, "")
	p, err := b.List(t.Context(), operator, query)
	if err != nil {
		t.Fatal(err)
	}
	if m := p.Messages[0]; string(m.Bytes) != "\xff\x00binary" || m.Truncated {
		t.Errorf("%q", m.Bytes)
	}
	if m := p.Messages[1]; len(m.Bytes) != messages.DefaultShow || !m.Truncated || m.Size != 5000 {
		t.Errorf("%d bytes of %d", len(m.Bytes), m.Size)
	}
	if m := p.Messages[2]; m.Bytes == nil || len(m.Bytes) != 0 || m.Truncated {
		t.Errorf("an empty body is %v", m.Bytes)
	}
	q := query
	q.Show = -1
	if p, err = b.List(t.Context(), operator, q); err != nil || len(p.Messages[0].Bytes) != 0 || p.Messages[0].Masked {
		t.Errorf("without bodies: %+v", p.Messages[0])
	}
	b.Nodes[0].AnswerPath("/channel/messages", 200, `{"messages":[{"id":"0000000000000001","size":0,"unreadable":true}]}`)
	if p, err = b.List(t.Context(), operator, query); err != nil || !p.Messages[0].Unreadable || p.Messages[0].Bytes != nil {
		t.Errorf("one that cannot be read: %+v", p.Messages[0])
	}
}

func TestFind(t *testing.T) {
	b := start(t, clustertest.Nodes(3), clustertest.Stock(1), clustertest.Topics(2))
	b.put(0, "in_flight", 7, "hello")
	p, err := b.List(t.Context(), operator, messages.Query{Topic: "topic-00000", Channel: "channel-0", State: "in_flight", Node: b.Nodes[0].Address()})
	if err != nil {
		t.Fatal(err)
	}
	id := p.Messages[0].ID
	for _, c := range []struct {
		id, topic, node string
		found           int
		failed, want    string
	}{
		{id, "", "", 1, "qd-2:4151: this node is an nsqd or an older qd, and cannot look for a message by its ID", ""},
		{id, "topic-00000", "", 1, "qd-2:4151: this node is an nsqd or an older qd, and cannot look for a message by its ID", ""},
		{id, "", b.Nodes[0].Address(), 1, "", ""},
		{id, "", b.Nodes[1].Address(), 0, "", "no node has a message " + id},
		{id, "topic-00001", b.Nodes[0].Address(), 0, "", "no node has a message " + id},
		{"0000000000000ABC", "", "", 0, "", `a message ID is 16 hexadecimal digits in lower case; "0000000000000ABC" is not`},
		{id, "a b", "", 0, "", `"a b" is no name of a topic`},
		{id, "", "127.0.0.1:22", 0, "", "there is no node 127.0.0.1:22"},
	} {
		found, bad, err := b.Find(t.Context(), operator, c.id, c.topic, c.node)
		if len(found) != c.found || failed(bad) != c.failed || (err != nil || c.want != "") && fmt.Sprint(err) != c.want {
			t.Errorf("%+v: %d found, %v; %s", c, len(found), err, failed(bad))
		}
		for _, m := range found {
			if m.Topic != "topic-00000" || string(m.Bytes) != "hello" || m.Node != b.Nodes[0].Address() || len(m.Channels) != 1 ||
				m.Channels[0].State != "in_flight" || m.Channels[0].Holder == nil || !m.Published.Equal(time.Unix(7, 0)) {
				t.Errorf("%+v", m)
			}
		}
	}
}

// A node that hangs is waited for as long as any, and the rest is there.
func TestNodeHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, clustertest.Nodes(2), clustertest.Topics(1))
		b.put(0, "ready", 1, "x")
		b.Nodes[1].Hang()
		p, err := b.List(t.Context(), operator, query)
		if err != nil || bodies(p.Messages) != "x" || failed(p.Failed) != "qd-1:4151: no answer within 5s" {
			t.Errorf("%s, %s, %v", bodies(p.Messages), failed(p.Failed), err)
		}
		b.Nodes[1].Heal()
	})
}

// Many who ask at once wait for each other, so that what nodes send them is bounded; who
// has gone meanwhile asks nobody.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, clustertest.Topics(1))
		b.Nodes[0].HangPath("/channel/messages")
		ctx, leave := context.WithCancel(t.Context())
		var asking sync.WaitGroup
		for i := range 20 {
			asking.Go(func() {
				own := t.Context()
				if i >= 10 {
					own = ctx
				}
				if page, err := b.List(own, operator, query); err == nil && len(page.Failed) != 1 {
					t.Errorf("%+v", page)
				}
			})
			synctest.Wait()
		}
		if n := b.Nodes[0].Requests("/channel/messages"); n != 8 {
			t.Errorf("%d were asked for at a time, want 8", n)
		}
		leave()
		asking.Wait()
		if n := b.Nodes[0].Requests("/channel/messages"); n != 10 {
			t.Errorf("%d were asked for in all, want 10", n)
		}
	})
}

// A node that gives fewer than it has, since they are large, has its next ones come before
// later ones of others.
func TestShortAnswer(t *testing.T) {
	b := start(t, clustertest.Nodes(2), clustertest.Topics(1))
	b.put(1, "ready", 5, "later")
	b.Nodes[0].HandlePath("/channel/messages", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("after") {
			fmt.Fprint(w, `{"messages":[{"id":"0000000000000002","timestamp":2000000000,"body":"second"}]}`)
			return
		}
		fmt.Fprint(w, `{"messages":[{"id":"0000000000000001","timestamp":1000000000,"body":"first"}],"next":"0000000000000001"}`)
	})
	if got := strings.Join(b.pages(query), " | "); got != "first | second later" {
		t.Errorf("pages: %s", got)
	}
}
