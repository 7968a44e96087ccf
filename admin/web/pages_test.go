package web

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/admin/messages"
	"github.com/millrace-mq/millrace/admin/signin"
)

// lookingPages are the addresses of all pages of these files.
var lookingPages = []string{
	deadPage, "/topics/orders.00000/archive/messages", "/topics/orders.00000/messages/000000000d1f0000",
	"/nodes", "/nodes/queue-00.internal:4151", "/lookup", "/search?q=orders", "/audit", "/audit/1", "/settings", "/counter",
}

// Every page is there for every role and under a base path, whatever is missing; and
// who is not signed in is told nothing.
func TestEveryPage(t *testing.T) {
	for _, s := range []*fleet.Snapshot{holding(fleetOf(2, 3)), holding(fleetOf(1, 1))} {
		down(s, 0)
		l := theDead("x")
		l.found = []messages.Message{aMessage("queue-00.internal:4151", "orders.00000", 0, "x")}
		u := lookingUI(t, s, l)
		u.Base = "/mq"
		logOf(u).Begin(audit.Entry{At: noon, Action: "revive"})
		for _, p := range lookingPages {
			for _, role := range []signin.Role{signin.Viewer, signin.Operator, signin.Admin} {
				w := get(u, role, p)
				if w.Code != http.StatusOK {
					t.Errorf("%s for %s: %d", p, role, w.Code)
					continue
				}
				saysNot(t, w.Body.String(), `href="/topics`, `href="/nodes`, `href="/do`, `action="/do`, "%!", "ZgotmplZ", " style=", "<script>", "<nil>")
			}
			w := httptest.NewRecorder()
			u.ServeHTTP(w, httptest.NewRequest("GET", p, nil))
			if w.Code != http.StatusSeeOther || !strings.HasPrefix(w.Header().Get("Location"), "/mq/sign-in?back=") {
				t.Errorf("%s for nobody: %d to %q", p, w.Code, w.Header().Get("Location"))
			}
			saysNot(t, w.Body.String(), "queue-01.internal", "orders.00001") // others than it was asked for
		}
	}
}

// Pages that ask daemons are not asked again for each sample: their stream has the
// figures of the frame alone.
func TestStillPages(t *testing.T) {
	l := theDead("x")
	u := lookingUI(t, fleetOf(1, 1), l)
	r := httptest.NewRequest("GET", "/events?page="+url.QueryEscape(deadPage), nil)
	ctx, cancel := contextOf(t, signin.Admin)
	r = r.WithContext(ctx)
	w := &cancelling{ResponseRecorder: httptest.NewRecorder(), after: "event: sample", cancel: cancel}
	u.ServeHTTP(w, r)
	if got := w.Body.String(); strings.Contains(got, "event: page") || !strings.Contains(got, "event: sample") || strings.Contains(got, `"title"`) {
		t.Errorf("the stream has: %s", got)
	}
	if len(l.asked) != 0 {
		t.Errorf("daemons were asked: %+v", l.asked)
	}
}

func TestSignInPage(t *testing.T) {
	s := fleetOf(2, 7)
	down(s, 0)
	u := lookingUI(t, s, &looked{})
	w := httptest.NewRecorder()
	u.ServeHTTP(w, httptest.NewRequest("GET", "/sign-in?back=/nodes%3Fsort%3Ddepth", nil))
	page := w.Body.String()
	if w.Code != http.StatusOK {
		t.Fatal(w.Code)
	}
	for _, want := range []string{`action="/sign-in"`, `name="back" value="/nodes?sort=depth"`, `autocomplete="current-password"`, `href="/oidc/begin?back=%2Fnodes%3Fsort%3Ddepth"`, "Sign in with Keycloak"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %s in %s", want, page)
		}
	}
	// Not even how many topics there are, or that something is wrong.
	saysNot(t, page, "data-events", `data-count`, "(1) ", `aria-label="Pages"`)

	for _, to := range []string{"https://evil.example/", "//evil.example", `/\evil.example`, "javascript:alert(1)", "/a\nb"} {
		w := httptest.NewRecorder()
		u.ServeHTTP(w, httptest.NewRequest("GET", "/sign-in?back="+url.QueryEscape(to), nil))
		if !strings.Contains(w.Body.String(), `name="back" value="/"`) {
			t.Errorf("%q is gone on to", to)
		}
	}
	says(t, mainOf(t, get(u, signin.Viewer, "/sign-in")), "You are signed in as ada (viewer)")
	u.Ways = nil
	says(t, mainOf(t, get(u, signin.Nobody, "/sign-in")), "There is nothing to sign in with here")
}

// Who could not sign in finds the form as it was, without the password.
func TestRefusedSignIn(t *testing.T) {
	u := lookingUI(t, fleetOf(1, 1), &looked{})
	form := url.Values{"name": {`ada"><script>`}, "password": {"hunter2-secret"}, "back": {"/counter"}}
	r := httptest.NewRequest("POST", "/sign-in", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if err := r.ParseForm(); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	u.Refuse(w, r, http.StatusUnauthorized, "Not signed in", "The name or the password is wrong.")
	page := w.Body.String()
	if w.Code != http.StatusUnauthorized || !strings.Contains(page, `name="back" value="/counter"`) || !strings.Contains(page, `value="ada&#34;&gt;&lt;script&gt;"`) {
		t.Errorf("%d: %s", w.Code, page)
	}
	says(t, mainOf(t, w), "The name or the password is wrong.")
	saysNot(t, page, "hunter2", "<script>")

	w = httptest.NewRecorder()
	u.Refuse(w, httptest.NewRequest("POST", "/do/empty-topic", nil), http.StatusForbidden, "Another site's request", "It came from <evil>.")
	if w.Code != http.StatusForbidden {
		t.Error(w.Code)
	}
	says(t, mainOf(t, w), "Another site's request", "It came from <evil>.")
}

// What is about to be lost is told with who consumes it.
func TestConsumersOfWhatIsDeleted(t *testing.T) {
	s := fleetOf(2, 5)
	on := s.Topic("orders.00001").Nodes
	for i := range on {
		on[i].Clients = 0
		on[i].Channels = []fleet.NodeChannel{{Name: "archive", Figures: fleet.Figures{Clients: 2}}, {Name: "billing", Figures: fleet.Figures{Clients: 1}}}
	}
	says(t, mainOf(t, get(newUI(t, Settings{}, s), signin.Admin, "/do/delete-topic?topic=orders.00001")), "Consumers 6")
}

// Of an admin that has just been started, charts show the few minutes that are known,
// and not an hour of nothing; on all pages the same.
func TestChartsOfTheFirstHour(t *testing.T) {
	for _, tt := range []struct {
		began time.Duration
		shown time.Duration
		since string
	}{
		{time.Minute, 5 * time.Minute, "11:59"}, {6 * time.Minute, 15 * time.Minute, "11:54"}, {16 * time.Minute, 30 * time.Minute, "11:44"},
		{40 * time.Minute, time.Hour, ""}, {24 * time.Hour, time.Hour, ""},
	} {
		u := newUI(t, Settings{}, fleetOf(1, 1))
		u.History = waves{noon.Add(-tt.began)}
		for _, k := range []key{{}, {Topic: "orders.00000"}} {
			v := &view{Snapshot: u.Source.Latest(), Path: "/"}
			c := u.charts(v, k)
			if got := noon.Sub(c.All[0].From); got < tt.shown-time.Minute || got > tt.shown+time.Minute {
				t.Errorf("after %s, %v: %s are shown, want %s", tt.began, k, got, tt.shown)
			}
			since := ""
			if !c.Since.IsZero() {
				since = c.Since.Format("15:04")
			}
			if since != tt.since {
				t.Errorf("after %s: known since %q, want %q", tt.began, since, tt.since)
			}
			v.Query = url.Values{"range": {"24h"}}
			if c := u.charts(v, k); !c.Since.IsZero() || noon.Sub(c.All[0].From) < 23*time.Hour {
				t.Errorf("after %s, a day: %s are shown", tt.began, noon.Sub(c.All[0].From))
			}
		}
	}
}
