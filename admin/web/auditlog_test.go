package web

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/signin"
)

func logOf(u *UI) *audit.Log { return u.Audit.(*audit.Log) }

func done(l *audit.Log, e audit.Entry, results ...audit.Result) uint64 {
	n := l.Begin(e)
	for _, r := range results {
		l.Result(n, r)
	}
	l.End(n)
	return n
}

func TestAudit(t *testing.T) {
	u := lookingUI(t, fleetOf(2, 1), &looked{})
	says(t, mainOf(t, get(u, signin.Viewer, "/audit")), "Nothing was changed yet")
	l := logOf(u)
	ok, bad := audit.Result{Node: "a:4151", OK: true, Count: 1200}, audit.Result{Node: "b:4151", Error: "<i>refused"}
	done(l, audit.Entry{At: noon, Who: "ada", Role: "admin", From: "10.0.0.1", Action: "empty-channel", Topic: "orders", Channel: "ship"}, ok, bad)
	done(l, audit.Entry{At: noon, Who: "<b>bob", Role: "operator", Action: "pause-topic", Topic: "orders", Detail: "reason \u202eevil"}, ok)
	l.Begin(audit.Entry{At: noon, Who: "eve", Role: "viewer", Action: "delete-topic", Topic: "pay", Refused: "eve has the role viewer"})
	l.Begin(audit.Entry{At: noon, Who: "ada", Role: "admin", Action: "from-the-future", Node: "a:4151"})

	page := mainOf(t, get(u, signin.Viewer, "/audit"))
	says(t, page, "Empty channel orders / ship ada admin, from 10.0.0.1 failed in part 1 done, 1 failed, 1,200 messages", "<b>bob", "reason ⟦U+202E⟧evil",
		"Delete topic pay eve viewer refused eve has the role viewer", "From the future a:4151 ada admin running no answer")
	saysNot(t, page, "<b>bob", "\u202e")
	if strings.Index(page, "From the future") > strings.Index(page, "Empty channel") {
		t.Error("the latest is not the first")
	}
	for query, only := range map[string]string{
		"who=eve": "Delete topic", "action=pause-topic": "Pause topic", "topic=pay": "Delete topic", "q=REFUSED": "Empty channel", "who=eve&topic=pay": "Delete topic",
	} {
		page := mainOf(t, get(u, signin.Viewer, "/audit?"+query))
		if n := strings.Count(page, `<a href="/audit/`); n != 1 || !strings.Contains(page, only) {
			t.Errorf("%s: %d entries: %s", query, n, words(page))
		}
	}
	says(t, mainOf(t, get(u, signin.Viewer, "/audit?who=nobody")), "Nothing like that was done")
}

func TestAuditPages(t *testing.T) {
	u := lookingUI(t, fleetOf(1, 1), &looked{})
	for i := range 120 {
		done(logOf(u), audit.Entry{At: noon, Who: "a&b", Action: "publish", Topic: fmt.Sprintf("t%d", i)})
	}
	seen, at := 0, "/audit?who=a%26b"
	for pages := 1; ; pages++ {
		page := mainOf(t, get(u, signin.Viewer, at))
		seen += strings.Count(page, `<a href="/audit/`)
		next := regexp.MustCompile(`rel="next" href="([^"]*)"`).FindStringSubmatch(page)
		if next == nil {
			says(t, page, "These are the oldest")
			if seen != 120 || pages != 3 {
				t.Errorf("%d entries on %d pages", seen, pages)
			}
			return
		}
		at = strings.ReplaceAll(next[1], "&amp;", "&")
	}
}

// The page of an action follows it: it is told of each result, and of the end.
func TestEntryIsLive(t *testing.T) {
	u := lookingUI(t, fleetOf(2, 1), &looked{})
	l := logOf(u)
	n := l.Begin(audit.Entry{At: noon, Who: "ada", Role: "admin", How: "password", From: "10.0.0.1", Via: "page", Action: "revive", Topic: "orders", Channel: "ship", Detail: "all", UserAgent: "<b>curl"})
	target := &url.URL{Path: fmt.Sprintf("/audit/%d", n)}
	look := func() rendered {
		return u.render(t.Context(), signin.Who{Name: "v", Role: signin.Viewer}, u.Source.Latest(), target)
	}
	wakes := func(p rendered) {
		t.Helper()
		select {
		case <-p.view.wake:
		case <-time.After(30 * time.Second):
			t.Fatal("nobody was told of a change")
		}
	}
	p := look()
	says(t, string(p.main), "Revive dead messages running", "no answer so far", "orders / ship", "ada, admin, by password", "10.0.0.1, over the page", "<b>curl")
	l.Result(n, audit.Result{Node: "a:4151", OK: true, Count: 7, Note: "12,000 of 50,000"})
	wakes(p)
	p = look()
	says(t, string(p.main), "1 done, 7 messages so far", "a:4151 done 7 12,000 of 50,000")
	l.Result(n, audit.Result{Node: "b:4151", Error: "no answer within 5s"})
	wakes(p)
	p = look()
	l.End(n)
	wakes(p)
	p = look()
	says(t, string(p.main), "failed in part", "b:4151 failed no answer within 5s")
	saysNot(t, string(p.main), "<progress", "<b>curl")
	if p.view.wake != nil {
		t.Error("who looks at what has ended is told of changes")
	}
	if strings.Index(string(p.main), "b:4151") > strings.Index(string(p.main), "a:4151") {
		t.Error("what failed is not the first")
	}
}

func TestEntryThatIsNotThere(t *testing.T) {
	u := lookingUI(t, fleetOf(1, 1), &looked{})
	for _, number := range []string{"7", "x", "-1", "18446744073709551616", "%3Cscript%3E"} {
		w := get(u, signin.Viewer, "/audit/"+number)
		if w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", number, w.Code)
		}
		saysNot(t, w.Body.String(), "<script>")
	}
	n := logOf(u).Begin(audit.Entry{At: noon, Action: "delete-topic", Topic: "t", Refused: "not <i>you"})
	says(t, mainOf(t, get(u, signin.Viewer, fmt.Sprintf("/audit/%d", n))), "It was refused, so nothing was done. not <i>you")
}
