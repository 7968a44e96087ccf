package web

import (
	"bytes"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/admin/actions"
	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/messages"
	"github.com/millrace-mq/millrace/admin/signin"
)

// theDead is a list of dead messages with a body each.
func theDead(bodies ...string) *looked {
	var p messages.Page
	for i, b := range bodies {
		m := aMessage("queue-00.internal:4151", "orders.00000", i, b)
		m.Standing = messages.Standing{State: "dead", Attempts: 5, Died: noon.Add(-time.Minute), Reason: "timed out"}
		p.Messages = append(p.Messages, m)
	}
	return &looked{list: map[string]messages.Page{"dead": p}}
}

const deadPage = "/topics/orders.00000/archive/messages?state=dead"

// Whatever a body is, it is shown as text, and leaves the page as it is.
func TestBodiesAreText(t *testing.T) {
	l := theDead(hostile...)
	for i := range l.list["dead"].Messages { // whoever requeues says why, and clients name themselves
		m := &l.list["dead"].Messages[i]
		m.Reason, m.Holder = hostile[i], &messages.Holder{ID: hostile[i], Hostname: hostile[i], RemoteAddress: hostile[i]}
	}
	l.list["in_flight"] = l.list["dead"]
	u := lookingUI(t, fleetOf(2, 1), l)
	for _, as := range []string{"", "text", "json", "hex", "nonsense"} {
		for _, state := range []string{"dead", "in_flight"} {
			w := get(u, signin.Admin, "/topics/orders.00000/archive/messages?state="+state+"&as="+as)
			if w.Code != http.StatusOK {
				t.Fatalf("%s as %s: %d", state, as, w.Code)
			}
			saysNot(t, w.Body.String(), "<script>alert", "<img", "<h1>owned", "\u202e", "\x00", "\xff", "href=\"javascript")
			if n := strings.Count(w.Body.String(), "</main>"); n != 1 {
				t.Errorf("%d ends of main", n)
			}
			if as == "text" {
				says(t, mainOf(t, w), "<script>alert(1)</script>", "⟦U+202E⟧gnorw⟦U+202C⟧", "⟦U+0000⟧⟦U+0001⟧⟦FF⟧⟦FE⟧", "{{.Who}}", "javascript:alert(1)")
			}
		}
	}
}

func TestMessages(t *testing.T) {
	l := theDead(`{"order":9007199254740993}`, "")
	p := l.list["dead"]
	p.Failed = []audit.Result{{Node: "queue-01.internal:4151", Error: "not asked, because it is down: refused"}}
	p.Next = "cursor+/="
	p.Messages = append(p.Messages,
		messages.Message{Node: "queue-00.internal:4151", ID: "00000000000000ff", Body: messages.Body{Unreadable: true}, Standing: messages.Standing{State: "dead", Attempts: -1}})
	l.list["dead"] = p
	u := lookingUI(t, fleetOf(2, 1), l)

	page := mainOf(t, get(u, signin.Admin, deadPage))
	says(t, page, "Messages of archive", "000000000d1f0000", "timed out", "61 s ago", `"order": 9007199254740993`,
		"The body is empty.", "The body cannot be read", "1 daemon did not answer", "queue-01.internal:4151 not asked, because it is down: refused")
	for _, want := range []string{
		`href="/topics/orders.00000/archive/messages?after=cursor%2B%2F%3D&amp;state=dead"`, // the next page
		`href="/topics/orders.00000/messages/000000000d1f0000?node=queue-00.internal%3A4151"`,
		`name="pick" value="queue-00.internal:4151/000000000d1f0000"`,
		`all=true&amp;channel=archive&amp;state=dead&amp;topic=orders.00000`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no %s in %s", want, page)
		}
	}
	get(u, signin.Admin, deadPage+"&node=queue-01.internal:4151&after=x&limit=7")
	q := l.asked[len(l.asked)-1]
	if q.Topic != "orders.00000" || q.Channel != "archive" || q.State != "dead" || q.Node != "queue-01.internal:4151" || q.After != "x" || q.Limit != 7 {
		t.Errorf("asked for %+v", q)
	}
}

// Who may not see bodies sees all else, and who may not change anything finds no
// button for it.
func TestMessagesByRole(t *testing.T) {
	const secret = "the-secret-body"
	for _, c := range []struct {
		role     signin.Role
		readOnly bool
		sees     bool
		buttons  []string
	}{
		{role: signin.Viewer},
		{role: signin.Operator, sees: true, buttons: []string{"revive", "copy", "move"}},
		{role: signin.Admin, sees: true, buttons: []string{"revive", "copy", "move", "delete-dead"}},
		{role: signin.Admin, readOnly: true, sees: true},
	} {
		t.Run(fmt.Sprint(c.role, c.readOnly), func(t *testing.T) {
			l := theDead(secret)
			l.readOnly = c.readOnly
			page := mainOf(t, get(lookingUI(t, fleetOf(1, 1), l), c.role, deadPage))
			if strings.Contains(page, secret) != c.sees {
				t.Errorf("the body is shown: %v", !c.sees)
			}
			if !c.sees {
				says(t, page, "Bodies are not shown to the role viewer")
			}
			for _, a := range deadActions {
				if strings.Contains(page, `"/do/`+a.name) != slices.Contains(c.buttons, a.name) {
					t.Errorf("%s is offered, or is not, against the role", a.name)
				}
			}
			if !strings.Contains(page, "000000000d1f0000") {
				t.Error("the message itself is not listed")
			}
		})
	}
}

func TestMessagesThatAreNotThere(t *testing.T) {
	l := &looked{list: map[string]messages.Page{}}
	s := fleetOf(2, 1)
	s.Topics[0].Channels[0].Figures.Depth, s.Topics[0].Channels[0].InFlight = 1200, 0
	u := lookingUI(t, s, l)
	page := mainOf(t, get(u, signin.Viewer, deadPage))
	says(t, page, "No message of this channel is dead.", "There are 1,200 ready.")
	says(t, mainOf(t, get(u, signin.Viewer, deadPage+"&after=x")), "There are no more dead messages.", "First page")

	if w := get(u, signin.Viewer, "/topics/orders.00000/archive/messages?state=lost"); w.Code != http.StatusBadRequest {
		t.Errorf("a state that does not exist: %d", w.Code)
	}
	l.err = fmt.Errorf("no node has channel x of topic y: %w", messages.ErrNotFound)
	if w := get(u, signin.Viewer, "/topics/y/x/messages"); w.Code != http.StatusNotFound {
		t.Errorf("a channel that does not exist: %d", w.Code)
	}
	l.err = fmt.Errorf("after must be what the page before gave: %w", messages.ErrInvalid)
	if w := get(u, signin.Viewer, deadPage+"&after=%21"); w.Code != http.StatusBadRequest {
		t.Errorf("a place that is none: %d", w.Code)
	}
}

// An nsqd has no request for looking. It is not asked, and the page says so.
func TestMessagesOfNSQD(t *testing.T) {
	l := &looked{}
	s := fleetOf(2, 1)
	for _, n := range s.Nodes {
		n.Millrace = false
	}
	u := lookingUI(t, s, l)
	says(t, mainOf(t, get(u, signin.Admin, deadPage)), "Messages cannot be looked at here: queue-00.internal:4151, queue-01.internal:4151 are nsqds")
	says(t, mainOf(t, get(u, signin.Admin, deadPage+"&node=queue-01.internal:4151")), "queue-01.internal:4151 is an nsqd")
	if len(l.asked) != 0 {
		t.Errorf("asked %+v", l.asked)
	}
	s.Nodes[0].Millrace = true
	get(u, signin.Admin, deadPage)
	if len(l.asked) != 1 {
		t.Error("the qd among them was not asked")
	}
}

func TestMessage(t *testing.T) {
	m := aMessage("queue-00.internal:4151", "orders.00000", 0, `{"a":[1,2]}`)
	m.Channels = []messages.InChannel{
		{Channel: "archive", Standing: messages.Standing{State: "dead", Attempts: 5, Died: noon.Add(-time.Hour), Reason: "requeued"}},
		{Channel: "billing", Standing: messages.Standing{State: "in_flight", Attempts: 1, Deadline: noon.Add(31 * time.Second), Holder: &messages.Holder{ID: "worker-1"}}},
		{Channel: "search", Standing: messages.Standing{State: "finished", Attempts: -1}},
		{Channel: "late", Standing: messages.Standing{State: "not_here", Attempts: -1}},
	}
	l := &looked{found: []messages.Message{m}}
	u := lookingUI(t, fleetOf(2, 1), l)
	const at = "/topics/orders.00000/messages/000000000D1F0000"

	page := mainOf(t, get(u, signin.Admin, at))
	says(t, page, "Message 000000000d1f0000", "On queue-00.internal:4151", "2026-03-14 11:59:00 UTC", "11 B, JSON", "died 60 min ago", "requeued",
		"times out in 30 s, held by worker-1", "finished", "not here", "{ \"a\": [ 1, 2 ] }")
	for action, times := range map[string]int{"revive": 1, "move": 1, "delete-dead": 1, "copy": 2} {
		if n := strings.Count(page, `"/do/`+action+"?"); n != times {
			t.Errorf("%s is offered %d times, want %d", action, n, times)
		}
	}
	says(t, mainOf(t, get(u, signin.Admin, at+"?as=hex")), "00000000 7b 22 61 22")
	page = mainOf(t, get(u, signin.Viewer, at))
	says(t, page, "Bodies are not shown to the role viewer")
	saysNot(t, page, "Download", "/do/", "{&#34;a")

	l.failed = []audit.Result{{Node: "queue-01.internal:4151", Error: "no answer within 5s"}}
	says(t, mainOf(t, get(u, signin.Viewer, at)), "1 daemon did not answer", "no answer within 5s")
	l.found = nil
	says(t, mainOf(t, get(u, signin.Viewer, at)), "No node that answered has this message")
	l.err = fmt.Errorf("no node has a message: %w", messages.ErrNotFound)
	if w := get(u, signin.Viewer, at); w.Code != http.StatusNotFound {
		t.Errorf("a message that nobody has: %d", w.Code)
	}
}

// A megabyte is not sent unless somebody asks for it, and then as often as he does.
func TestLongBody(t *testing.T) {
	m := aMessage("queue-00.internal:4151", "orders.00000", 0, strings.Repeat("0123456789abcdef", messages.MaxWhole/16))
	m.Size, m.Truncated = 3<<20, true
	u := lookingUI(t, fleetOf(1, 1), &looked{found: []messages.Message{m}})
	const at = "/topics/orders.00000/messages/000000000d1f0000"
	for _, c := range []struct {
		size      string
		atMost    int
		says, not string
	}{
		{"", 40 << 10, "The first 16 KiB of 3 MiB. Show more", "a node shows no more"},
		{"?size=262144", 300 << 10, "The first 256 KiB of 3 MiB. Show more", "a node shows no more"},
		{"?size=1048576", 1100 << 10, "The first 1 MiB of 3 MiB; a node shows no more than that", "Show more"},
		{"?size=-5", 40 << 10, "The first 16 KiB", "a node shows no more"},
		{"?size=99999999999999999999", 1100 << 10, "1 MiB", "Show more"},
	} {
		w := get(u, signin.Admin, at+c.size)
		if w.Body.Len() > c.atMost {
			t.Errorf("%s: %d bytes", c.size, w.Body.Len())
		}
		page := mainOf(t, w)
		says(t, page, c.says)
		saysNot(t, page, c.not)
	}
}

// A body is downloaded as it is, as a file that no browser shows.
func TestRawBody(t *testing.T) {
	const content = "<html><script>alert(1)</script>\x00\xff"
	one := aMessage("queue-00.internal:4151", "a#ephemeral", 0, content)
	l := &looked{found: []messages.Message{one}}
	u := lookingUI(t, fleetOf(2, 1), l)
	const at = "/topics/a%23ephemeral/messages/000000000d1f0000/raw"

	w := get(u, signin.Operator, at)
	if w.Code != http.StatusOK || !bytes.Equal(w.Body.Bytes(), []byte(content)) {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/octet-stream", "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; sandbox",
		"Content-Disposition": "attachment; filename=a_ephemeral-000000000d1f0000.bin", "Cache-Control": "no-store",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if w := get(u, signin.Viewer, at); w.Code != http.StatusForbidden || strings.Contains(w.Body.String(), "alert(1)") {
		t.Errorf("a viewer: %d", w.Code)
	}
	other := one
	other.Node = "queue-01.internal:4151"
	l.found = append(l.found, other)
	if w := get(u, signin.Operator, at); w.Code != http.StatusBadRequest {
		t.Errorf("two messages of that ID: %d", w.Code)
	}
	if w := get(u, signin.Operator, at+"?node=queue-01.internal:4151"); w.Code != http.StatusOK {
		t.Errorf("one of them: %d", w.Code)
	}
	other.Truncated = true
	l.found = []messages.Message{other}
	if w := get(u, signin.Operator, at); w.Code != http.StatusBadGateway {
		t.Errorf("a part of it: %d", w.Code)
	}
	l.found, l.failed = nil, []audit.Result{{Node: "queue-01.internal:4151", Error: "refused"}}
	if w := get(u, signin.Operator, at); w.Code != http.StatusBadGateway || !strings.Contains(w.Body.String(), "queue-01.internal:4151: refused") {
		t.Errorf("a node down: %d", w.Code)
	}
}

// What is picked in a list of dead messages goes through the action's form, and comes
// to be what it is done to: each message on its own node.
func TestPickedMessages(t *testing.T) {
	l := theDead("x", "y", "z")
	l.list["dead"].Messages[1].Node = "queue-01.internal:4151"
	u := lookingUI(t, fleetOf(2, 1), l)
	form := fieldsIn(mainOf(t, get(u, signin.Operator, deadPage)))
	form["pick"] = form["pick"][:2]
	w := post(u, signin.Operator, "/do/revive", form)
	if w.Code != http.StatusOK || len(l.begun) != 0 {
		t.Fatalf("%d, and %+v was begun without being asked for", w.Code, l.begun)
	}
	says(t, mainOf(t, w), "2 targets", "000000000d1f0000 on queue-00.internal:4151", "000000000d1f0001 on queue-01.internal:4151")
	w = post(u, signin.Operator, "/do/revive", fieldsIn(mainOf(t, w)))
	want := []actions.Target{
		{Topic: "orders.00000", Channel: "archive", Node: "queue-00.internal:4151", ID: "000000000d1f0000"},
		{Topic: "orders.00000", Channel: "archive", Node: "queue-01.internal:4151", ID: "000000000d1f0001"},
	}
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/audit/1" || len(l.begun) != 1 || !slices.Equal(l.begun[0].Targets, want) {
		t.Errorf("%d to %q: %+v", w.Code, w.Header().Get("Location"), l.begun)
	}
}

// fieldsIn are the hidden fields of a page's forms, and its boxes as if all were ticked.
func fieldsIn(page string) url.Values {
	form := url.Values{}
	for _, tag := range regexp.MustCompile(`<input type="(?:hidden|checkbox)" name="([^"]*)" value="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if tag[1] != "all" {
			form.Add(tag[1], html.UnescapeString(tag[2]))
		}
	}
	return form
}
