package web

import (
	"bufio"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/admin/signin"
)

// watching is a browser that looks at a page: the events that it gets, in order.
type watching struct {
	testing.TB
	events chan event
	status int
	header http.Header
	close  func()
}

type event struct{ name, data string }

// watch opens a stream of a server with pages. It and the server end with the test.
func watch(t testing.TB, s *httptest.Server, page string, more ...string) *watching {
	t.Helper()
	q := url.Values{"page": {page}}
	for i := 0; i < len(more); i += 2 {
		q.Set(more[i], more[i+1])
	}
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "GET", s.URL+"/events?"+q.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept-Encoding", "gzip")
	answer, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	w := &watching{TB: t, events: make(chan event, 100), status: answer.StatusCode, header: answer.Header, close: cancel}
	var wg sync.WaitGroup
	wg.Go(func() { w.read(answer.Body) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return w
}

func (w *watching) read(body io.ReadCloser) {
	defer body.Close()
	defer close(w.events)
	from := io.Reader(body)
	if w.header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(body)
		if err != nil {
			return
		}
		from = z
	}
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 8<<20)
	var e event
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "event":
			e.name = value
		case "data":
			e.data += value + "\n"
		case "":
			if e.name != "" {
				w.events <- e
			}
			e = event{}
		}
	}
}

// next is the next event with a name; others are passed over.
func (w *watching) next(name string) event {
	w.Helper()
	for {
		select {
		case e, ok := <-w.events:
			if !ok {
				w.Fatalf("the stream ended before an event %q", name)
			}
			if e.name == name {
				return e
			}
		case <-time.After(time.Minute):
			w.Fatalf("no event %q came", name)
		}
	}
}

// ended waits for the end of the stream.
func (w *watching) ended() {
	w.Helper()
	deadline := time.After(time.Minute)
	for {
		select {
		case _, ok := <-w.events:
			if !ok {
				return
			}
		case <-deadline:
			w.Fatal("the stream did not end")
		}
	}
}

// serve serves pages to an operator, until the test ends.
func serve(t testing.TB, u *UI, role signin.Role) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.ServeHTTP(w, r.WithContext(signin.NewContext(r.Context(), signin.Who{Name: "ada", Role: role})))
	}))
	t.Cleanup(s.Close)
	return s
}

func TestEventsBringWhatChanged(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	source := hold(fleetOf(2, 3))
	u := newUI(t, Settings{ClusterName: "Frankfurt"}, nil)
	u.Source = source
	t.Run("", func(t *testing.T) {
		w := watch(t, serve(t, u, signin.Viewer), "/topics/orders.00001?range=6h")
		if w.header.Get("Content-Encoding") != "gzip" || !strings.HasPrefix(w.header.Get("Content-Type"), "text/event-stream") {
			t.Errorf("header %v", w.header)
		}
		before := w.next("page")
		if !strings.Contains(before.data, "<h1>orders.00001</h1>") || strings.Contains(before.data, "<main") {
			t.Errorf("the page is not the inside of main: %.200s", before.data)
		}
		if e := w.next("sample"); !strings.Contains(e.data, `"title":"orders.00001 · Frankfurt"`) || !strings.Contains(e.data, `"topics":"3"`) {
			t.Errorf("sample %s", e.data)
		}
		same := *source.Latest()
		source.set(&same) // nothing of it has changed
		if e := <-w.events; e.name != "sample" {
			t.Errorf("event %q of a page that is as it was", e.name)
		}
		source.set(fleetOf(5, 3))
		if after := w.next("page"); after.data == before.data {
			t.Error("the same page again")
		}
	})
}

// A browser that has the page already gets it when it has changed only.
func TestEventsAfterTheFirstLoad(t *testing.T) {
	u := newUI(t, Settings{}, fleetOf(1, 2))
	s := serve(t, u, signin.Viewer)
	page := get(u, signin.Viewer, "/topics")
	_, have, ok := strings.Cut(page.Body.String(), "have=")
	have, _, _ = strings.Cut(have, "&")
	if !ok {
		t.Fatal("the page does not say where its events are")
	}
	w := watch(t, s, "/topics", "have", have)
	if e := <-w.events; e.name != "sample" {
		t.Errorf("event %q: the browser has this page", e.name)
	}
}

// Names with line ends in them must not become events of their own.
func TestEventsOfHostileNames(t *testing.T) {
	name := "a\r\nevent: page\rdata: <b>forged</b>\n\nevent: reload\n\n"
	s := &fleet.Snapshot{At: noon, Topics: []*fleet.Topic{{Name: name}}}
	u := newUI(t, Settings{ClusterName: name}, s)
	w := watch(t, serve(t, u, signin.Viewer), "/topics")
	if e := <-w.events; e.name != "page" || strings.Contains(e.data, "<b>forged") || strings.Contains(e.data, "\r") { // which ends a line of events
		t.Errorf("event %q: %s", e.name, e.data)
	}
	if e := <-w.events; e.name != "sample" {
		t.Errorf("event %q", e.name)
	}
}

func TestEventsHaveRoomForSoMany(t *testing.T) {
	u := newUI(t, Settings{}, fleetOf(1, 1))
	s := serve(t, u, signin.Viewer)
	first := watch(t, s, "/")
	first.next("sample")
	u.viewers.Add(maxViewers - 1)
	if w := watch(t, s, "/"); w.status != http.StatusServiceUnavailable || w.header.Get("Retry-After") == "" {
		t.Errorf("one too many: %d, Retry-After %q", w.status, w.header.Get("Retry-After"))
	}
	first.close()
	first.ended()
	for u.viewers.Load() != maxViewers-1 { // its handler is about to end
		time.Sleep(time.Millisecond)
	}
	if w := watch(t, s, "/"); w.status != http.StatusOK {
		t.Errorf("after one has gone: %d", w.status)
	}
}

// Who is not signed in any more, or has the scripts of another version, is told to load
// the page again, and gets nothing else.
func TestEventsThatReload(t *testing.T) {
	tests := []struct {
		what string
		role signin.Role
		more []string
	}{
		{"nobody", signin.Nobody, nil},
		{"an upgrade", signin.Admin, []string{"version", "of-old"}},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			u := newUI(t, Settings{SignIn: true}, fleetOf(1, 1))
			w := watch(t, serve(t, u, tt.role), "/topics", tt.more...)
			if e := <-w.events; e.name != "reload" {
				t.Errorf("event %q", e.name)
			}
			w.ended()
		})
	}
}

// Streams end when the server's context does.
func TestEventsEndWithTheServer(t *testing.T) {
	u := newUI(t, Settings{}, fleetOf(1, 1))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r, cancel := withEnd(r, ctx)
		defer cancel()
		u.ServeHTTP(w, r)
	}))
	s.Start()
	t.Cleanup(s.Close)
	w := watch(t, s, "/")
	w.next("sample")
	stop()
	w.ended()
	for u.viewers.Load() != 0 {
		time.Sleep(time.Millisecond)
	}
}

func withEnd(r *http.Request, end context.Context) (*http.Request, func()) {
	ctx, cancel := context.WithCancel(signin.NewContext(r.Context(), signin.Who{Role: signin.Admin}))
	stop := context.AfterFunc(end, cancel)
	return r.WithContext(ctx), func() { stop(); cancel() }
}

// However many look at a page in the same role, it is rendered once; other roles and
// other snapshots have their own.
func TestRendersAreShared(t *testing.T) {
	u := newUI(t, Settings{}, fleetOf(1, 2))
	at := &url.URL{Path: "/topics"}
	s := u.Source.Latest()
	viewer, admin := signin.Who{Name: "ada", Role: signin.Viewer}, signin.Who{Name: "bob", Role: signin.Admin}
	a := u.renders.get(u, viewer, s, at)
	if b := u.renders.get(u, signin.Who{Name: "eve", Role: signin.Viewer}, s, at); a != b {
		t.Error("two viewers got two renderings")
	}
	if b := u.renders.get(u, admin, s, at); a == b || a.hash == b.hash {
		t.Error("an admin got what a viewer sees")
	}
	if b := u.renders.get(u, viewer, fleetOf(1, 3), at); a == b {
		t.Error("an old rendering of a new snapshot")
	}
}

// Who signs out, or loses a role, is shown nothing more in the tabs that are open.
func TestEventsEndWithTheRole(t *testing.T) {
	for _, page := range []string{"/topics", "/settings"} {
		for _, after := range []signin.Role{signin.Nobody, signin.Viewer} {
			source := hold(fleetOf(1, 1))
			u := newUI(t, Settings{SignIn: true}, nil)
			var role atomic.Int32
			role.Store(int32(signin.Operator))
			u.Source, u.Who = source, func(*http.Request) signin.Who { return signin.Who{Name: "ada", Role: signin.Role(role.Load())} }
			w := watch(t, serve(t, u, signin.Operator), page)
			w.next("sample")
			role.Store(int32(after))
			source.set(fleetOf(1, 2))
			for e := range w.events {
				if e.name != "reload" {
					t.Errorf("%s as %s: an event %q came", page, after, e.name)
				}
			}
		}
	}
}

// Who may see nothing is not told how much there is either, whether people sign in
// here or not.
func TestEventsTellNobodyNothing(t *testing.T) {
	for _, signIn := range []bool{true, false} {
		u := newUI(t, Settings{SignIn: signIn}, fleetOf(2, 3))
		for e := range watch(t, serve(t, u, signin.Nobody), "/").events {
			if e.name != "reload" {
				t.Errorf("sign-in %v: an event %q came: %s", signIn, e.name, e.data)
			}
		}
	}
}

// However many pages are asked for, few are kept.
func TestRendersAreBounded(t *testing.T) {
	u, s := newUI(t, Settings{}, nil), fleetOf(1, 1)
	for i := range 2 * maxShared {
		target := &url.URL{Path: "/topics", RawQuery: "q=" + strconv.Itoa(i)}
		if p := u.renders.get(u, signin.Who{Role: signin.Viewer}, s, target); p.status != http.StatusOK {
			t.Fatal(p.status)
		}
	}
	if n := len(u.renders.pages); n != maxShared {
		t.Errorf("%d pages are kept", n)
	}
}

// What is not there may come: such a page is live. One at no address is not, nor one
// that has failed.
func TestPagesThatMayCome(t *testing.T) {
	source := hold(&fleet.Snapshot{})
	u := newUI(t, Settings{}, nil)
	u.Source = source
	for _, at := range []string{"/topics/orders.00000", "/topics/orders.00000/archive", "/nodes/queue-00.internal:4151"} {
		w := get(u, signin.Viewer, at)
		if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "No daemon has been asked yet") || !strings.Contains(w.Body.String(), "data-events") {
			t.Errorf("%s: %d\n%s", at, w.Code, w.Body)
		}
	}
	w := watch(t, serve(t, u, signin.Viewer), "/topics/orders.00000")
	if e := w.next("page"); !strings.Contains(e.data, "Not known yet") {
		t.Error(e.data)
	}
	source.set(fleetOf(1, 1))
	if e := w.next("page"); !strings.Contains(e.data, "<h1>orders.00000</h1>") {
		t.Error(e.data)
	}
	for at, live := range map[string]bool{"/topics/none": true, "/nodes/none:1": true, "/none": false, "/do/none": true, "/topics/a//b": false, "/topics/orders.00000/archive/messages": false} {
		if got := strings.Contains(get(u, signin.Viewer, at).Body.String(), "data-events"); got != live {
			t.Errorf("%s: live is %v", at, got)
		}
	}
}

// Pages are shared by all of a role, so none of those tells who somebody is.
func TestSharedPagesNameNobody(t *testing.T) {
	u := newUI(t, Settings{SignIn: true}, fleetOf(1, 1))
	for i := range u.pages {
		p := &u.pages[i]
		if p.still {
			continue
		}
		at, err := url.Parse(strings.NewReplacer("{topic}", "orders.00000", "{channel}", "archive", "{node}", "queue-00.internal:4151", "{action}", "delete-topic", "{number}", "1").Replace(p.path))
		if err != nil {
			t.Fatal(err)
		}
		for _, role := range []signin.Role{signin.Viewer, signin.Admin} {
			if main := u.render(t.Context(), signin.Who{Name: "somebody-else", Role: role}, u.Source.Latest(), at).main; strings.Contains(string(main), "somebody-else") {
				t.Errorf("%s as %s:\n%s", p.path, role, main)
			}
		}
	}
}

// When nobody looks any more, nothing is kept of what was last looked at.
func TestRendersAreDropped(t *testing.T) {
	u := newUI(t, Settings{}, fleetOf(1, 1))
	w := watch(t, serve(t, u, signin.Viewer), "/")
	w.next("sample")
	w.close()
	for u.viewers.Load() != 0 {
		time.Sleep(time.Millisecond)
	}
	for dropped := false; !dropped; { // by the handler, which is about to end
		u.renders.mu.Lock()
		dropped = u.renders.snapshot == nil && u.renders.pages == nil
		u.renders.mu.Unlock()
	}
}
