package browser

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestRecord writes down who has changed what: on the page, in the file, and to a
// webhook that fails, which nobody notices.
func TestRecord(t *testing.T) {
	t.Parallel()
	var hooked atomic.Int64
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hooked.Add(1)
		w.WriteHeader(http.StatusInternalServerError)
	}))
	t.Cleanup(hook.Close)
	file := filepath.Join(t.TempDir(), "audit.jsonl")
	h := newHouse(t, 1, "--users-file="+people(t, ""), "--audit-file="+file, "--notification-http-endpoint="+hook.URL)
	for _, topic := range []string{"orders", "bills"} {
		h.publish(0, topic, 3)
	}
	otto, vera := h.as(t, "otto"), h.as(t, "vera")
	wait(t, "the topics being known", func() bool {
		return otto.get("/topics/orders").Status == http.StatusOK && otto.get("/topics/bills").Status == http.StatusOK
	})
	form := url.Values{"topic": {"orders"}, "reason": {"the \"depot\"\n<b>is full</b>"}}
	want(t, "a reason of two lines", otto.send(http.MethodPost, "/do/pause-topic", form).Status, http.StatusBadRequest)
	form.Set("reason", `the "depot" <b>is full</b>`)
	want(t, "pausing", otto.send(http.MethodPost, "/do/pause-topic", form).Status, http.StatusSeeOther)
	want(t, "pausing by the API", otto.act("pause-topic", map[string]string{"topic": "bills"}, nil).Status, http.StatusOK)
	want(t, "publishing", otto.act("publish", map[string]string{"topic": "bills"}, map[string]string{"body": "s3cret of a body"}).Status, http.StatusOK)
	want(t, "what vera may not", vera.act("delete-topic", map[string]string{"topic": "orders"}, nil).Status, http.StatusForbidden)
	want(t, "a wrong password", newScript(t, h.base).signIn("ada", "s3cret guess").Status, http.StatusUnauthorized)
	wait(t, "the webhook", func() bool { return hooked.Load() > 0 })

	type line struct {
		Number                                                    uint64
		At, Who, Role, How, From, Via, Action, Topic, Detail, URL string
		Refused                                                   string
		Done                                                      bool
		Results                                                   []struct {
			Node string
			OK   bool
		}
	}
	var lines []line
	find := func(action, topic string) (found line) {
		for _, l := range lines {
			if l.Action == action && l.Topic == topic {
				found = l
			}
		}
		return found
	}
	wait(t, "the file's having all lines", func() bool {
		f, err := os.Open(file)
		if err != nil {
			return false
		}
		defer f.Close()
		lines = nil
		for s := bufio.NewScanner(f); s.Scan(); {
			var l line
			if err := json.Unmarshal(s.Bytes(), &l); err != nil {
				t.Fatalf("%s: %v", s.Bytes(), err)
			}
			lines = append(lines, l)
		}
		return len(lines) == 7 // two signed in, one could not, two paused, one published, one was refused
	})
	paused := find("pause-topic", "orders")
	if paused.Who != "otto" || paused.Role != "operator" || paused.How != "password" || paused.From != "127.0.0.1" || paused.Via != "page" || !paused.Done ||
		len(paused.Results) != 1 || paused.Results[0].Node != h.qds[0].http || !paused.Results[0].OK || !strings.Contains(paused.Detail, "depot") || paused.At == "" {
		t.Errorf("the file's line: %+v", paused)
	}
	want(t, "what was refused", find("delete-topic", "orders").Refused != "" && find("delete-topic", "orders").Who == "vera", true)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "s3cret") {
		t.Errorf("the file has bodies or passwords: %s", text)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "who may read the file", info.Mode().Perm()&0o007, 0)

	h.showsRecord(t)
	h.admin.end(syscall.SIGTERM) // what is in the file is on the page after a restart, or is not; the file goes on
	h.admin.start()
	wait(t, "the topics being known", func() bool { s := h.as(t, "otto"); return s.get("/topics/orders").Status == http.StatusOK })
	want(t, "resuming", h.as(t, "otto").act("unpause-topic", map[string]string{"topic": "orders"}, nil).Status, http.StatusOK)
	wait(t, "the file's going on", func() bool {
		now, err := os.ReadFile(file)
		return err == nil && strings.HasPrefix(string(now), string(text)) && strings.Contains(string(now), "unpause-topic")
	})
}

// showsRecord filters the audit page by hand, and wants the address to say so.
func (h *house) showsRecord(t *testing.T) {
	t.Helper()
	b := open(t, h.base)
	b.visit("/audit")
	b.signIn("vera", password)
	b.at("/audit")
	rows := func(wanted int) {
		t.Helper()
		if got := b.eval(`document.querySelectorAll("main tbody tr").length + ""`); got != string(rune('0'+wanted)) {
			t.Errorf("%s has %s rows, want %d:\n%s", b.href(), got, wanted, b.text())
		}
	}
	b.shows("the \\\"depot\\\" <b>is full</b>")
	for _, f := range []struct {
		field, text, query string
		rows               int
	}{
		{"action", "pause-topic", "action=pause-topic", 2},
		{"topic", "bills", "topic=bills", 2}, // paused, and published to
		{"who", "vera", "who=vera", 3},       // signed in, as a script and now, and was refused
		{"q", "depot", "q=depot", 1},
	} {
		b.visit("/audit")
		b.fill(f.field, f.text)
		b.button("Filter")
		if !strings.Contains(b.href(), f.query) {
			t.Errorf("the address is %s, want %s in it", b.href(), f.query)
		}
		rows(f.rows)
		b.do(chromedp.Reload())
		rows(f.rows)
	}
	b.visit("/audit?action=pause-topic&topic=orders&who=otto")
	rows(1)
	b.link("Pause topic")
	b.shows("Back to orders")
	b.do(chromedp.NavigateBack())
	b.shows("Filter")
	rows(1)
	b.do(chromedp.Navigate("about:blank")) // or it would complain of the admin's end
}
