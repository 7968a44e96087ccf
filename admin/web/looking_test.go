package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/admin/actions"
	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/admin/messages"
	"github.com/millrace-mq/millrace/admin/signin"
)

// looked plays who answers what is in no snapshot. Its actions obey roles as the real
// ones do, and do nothing.
type looked struct {
	list     map[string]messages.Page // by state
	found    []messages.Message
	failed   []audit.Result
	err      error
	asked    []messages.Query
	settings map[string]string // answers to GET /config, by address
	inactive map[string][]string
	readOnly bool
	begun    []actions.Request
}

func (l *looked) Sees(who signin.Who) bool { return who.Role >= signin.Operator }

func (l *looked) List(_ context.Context, who signin.Who, q messages.Query) (messages.Page, error) {
	l.asked = append(l.asked, q)
	p := l.list[q.State]
	p.Messages = l.masked(who, p.Messages)
	return p, l.err
}

func (l *looked) Find(_ context.Context, who signin.Who, _, _, node string) ([]messages.Message, []audit.Result, error) {
	var found []messages.Message
	for _, m := range l.found {
		if node == "" || node == m.Node {
			found = append(found, m)
		}
	}
	return l.masked(who, found), l.failed, l.err
}

func (l *looked) masked(who signin.Who, all []messages.Message) []messages.Message {
	all = slices.Clone(all)
	for i := range all {
		if !l.Sees(who) {
			all[i].Body = messages.Body{Size: all[i].Size, Masked: true}
		}
	}
	return all
}

func (l *looked) Get(_ context.Context, address, path string, _ url.Values, into any) error {
	answer, ok := l.settings[address]
	if !ok || path != "/config" {
		return errors.New("GET " + path + " of " + address + ": connection refused")
	}
	return json.Unmarshal([]byte(answer), into)
}

func (l *looked) Each(ctx context.Context, addresses []string, do func(context.Context, string) audit.Result, _ func(audit.Result)) []audit.Result {
	var all []audit.Result
	for _, a := range addresses {
		all = append(all, do(ctx, a))
	}
	return all
}

func (l *looked) Inactive(context.Context) (map[string][]string, []audit.Result) {
	return l.inactive, l.failed
}

func (l *looked) May(who signin.Who, action string) error {
	a, ok := actions.Find(action)
	if !ok || l.readOnly || who.Role < a.Role {
		return errors.New("no")
	}
	return nil
}

func (l *looked) Begin(_ context.Context, _ signin.Who, _ string, r actions.Request) (uint64, error) {
	l.begun = append(l.begun, r)
	return uint64(len(l.begun)), nil
}

// lookingUI makes pages over a snapshot and what l plays.
func lookingUI(t testing.TB, s *fleet.Snapshot, l *looked, clients ...fleet.Client) *UI {
	log, err := audit.New(audit.Settings{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	source := hold(s)
	source.clients = clients
	u := New(Settings{SignIn: true, Version: "1.0", ReadOnly: l.readOnly}, Parts{
		Source: source, Actions: l, Messages: l, Daemons: l, Audit: log, Ways: func() signin.Ways { return signin.Ways{Password: true, OIDC: "Keycloak"} },
	}, slog.New(slog.DiscardHandler))
	u.now = func() time.Time { return noon.Add(time.Second) }
	return u
}

// get asks for a page in a role.
func get(u *UI, role signin.Role, target string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", target, nil)
	w := httptest.NewRecorder()
	u.ServeHTTP(w, r.WithContext(signin.NewContext(r.Context(), signin.Who{Name: "ada", Role: role, How: "password"})))
	return w
}

// mainOf is the inside of a page, without what is around it.
func mainOf(t testing.TB, w *httptest.ResponseRecorder) string {
	t.Helper()
	_, rest, ok := strings.Cut(w.Body.String(), `<main id="page"`)
	inside, _, ended := strings.Cut(rest, "</main>")
	if !ok || !ended {
		t.Fatalf("%d: no page: %.300s", w.Code, w.Body)
	}
	return inside
}

// words is what a page says, without its tags.
func words(page string) string {
	var b strings.Builder
	for len(page) > 0 {
		text, rest, _ := strings.Cut(page, "<")
		b.WriteString(text)
		_, page, _ = strings.Cut(rest, ">")
		b.WriteByte(' ')
	}
	text := strings.Join(strings.Fields(html.UnescapeString(b.String())), " ")
	return strings.NewReplacer(" ,", ",", " .", ".", " ;", ";").Replace(text) // where a tag ended
}

// says checks that a page says things, in words.
func says(t testing.TB, page string, all ...string) {
	t.Helper()
	said := words(page)
	for _, s := range all {
		if !strings.Contains(said, s) {
			t.Errorf("the page does not say %q; it says: %s", s, said)
		}
	}
}

func saysNot(t testing.TB, page string, all ...string) {
	t.Helper()
	for _, s := range all {
		if strings.Contains(page, s) {
			t.Errorf("the page has %q", s)
		}
	}
}

// hostile are bodies and names that try to be more than text.
var hostile = []string{
	"<script>alert(1)</script>", `"><img src=x onerror=alert(1)>`, "</pre></main><h1>owned</h1>", "javascript:alert(1)",
	"\u202egnorw\u202c", "\x00\x01\xff\xfe", "{{.Who}}", strings.Repeat("W", 5000), strings.Repeat("[", 4000),
}

func aMessage(node, topic string, n int, body string) messages.Message {
	return messages.Message{
		Node: node, Topic: topic, ID: fmt.Sprintf("%016x", 0x0d1f0000+n), Published: noon.Add(-time.Duration(n+1) * time.Minute),
		Body: messages.Body{Size: int64(len(body)), Bytes: []byte(body)},
	}
}

var _ http.Handler = (*UI)(nil)

// contextOf is that of a request in a role, and what ends it.
func contextOf(t testing.TB, role signin.Role) (context.Context, context.CancelFunc) {
	return context.WithCancel(signin.NewContext(t.Context(), signin.Who{Name: "ada", Role: role, How: "password"}))
}

// cancelling ends a request once it has been answered something.
type cancelling struct {
	*httptest.ResponseRecorder
	after  string
	cancel context.CancelFunc
}

func (c *cancelling) Write(b []byte) (int, error) {
	n, err := c.ResponseRecorder.Write(b)
	if strings.Contains(c.Body.String(), c.after) {
		c.cancel()
	}
	return n, err
}
