package browser

import (
	"encoding/json"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// signIn fills in the form of the sign-in page.
func (b *tab) signIn(name, password string) {
	b.t.Helper()
	b.fill("name", name)
	b.fill("password", password)
	b.button("Sign in")
}

// cookie is the session's.
func (b *tab) cookie() string {
	b.t.Helper()
	got, err := chromedp.Call(b.ctx, network.GetCookies, network.GetCookiesParams{})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range got.Cookies {
		if c.Name == "millrace_session" {
			if !c.HTTPOnly || c.SameSite != network.CookieSameSiteLax {
				b.t.Errorf("the cookie is %+v", c)
			}
			return c.Name + "=" + c.Value
		}
	}
	return ""
}

// with is a script that has a tab's cookie.
func (b *tab) script() *script {
	s := newScript(b.t, b.base)
	s.header.Set("Cookie", b.cookie())
	return s
}

// TestSignIn signs in and out by hand, and over a restart.
func TestSignIn(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1, "--users-file="+people(t, ""), "--session-key-file="+filepath.Join(t.TempDir(), "key"))
	h.publish(0, "orders", 3)
	b := open(t, h.base)
	b.visit("/topics?q=ord&show=backlog")
	b.at("/sign-in?back=")
	if text := b.text(); strings.Contains(text, "orders") || strings.Contains(text, h.qds[0].http) {
		t.Errorf("who is not signed in sees\n%s", text)
	}
	b.axe("sign-in")

	b.signIn("vera", "wrong")
	b.shows("The name or the password is wrong.")
	b.expect("401 (Unauthorized)")
	want(t, "the name that was typed", b.eval(`document.querySelector("main [name=name]").value`), "vera")
	want(t, "the password that was typed", b.eval(`document.querySelector("main [name=password]").value`), "")
	b.signIn("nobody", password)
	b.shows("The name or the password is wrong.")
	b.expect("401 (Unauthorized)")

	b.signIn("vera", password)
	b.at("/topics?q=ord&show=backlog") // where she wanted to go
	b.until("being signed in", `document.querySelector(".side .who").innerText.includes("vera")`)
	b.reach("/topics/orders")

	h.admin.end(syscall.SIGTERM)
	h.admin.start()
	b.expect("net::ERR_") // the stream of events broke
	b.reach("/topics/orders")
	b.until("being signed in after a restart", `document.querySelector(".side .who").innerText.includes("vera")`)

	old := b.script()
	want(t, "the API by the session", old.get("/api/overview").Status, http.StatusOK)
	b.follow(".side .who button", "Sign out")
	b.at("/sign-in")
	want(t, "the cookie left", b.cookie(), "")
	if r := old.get("/topics/orders"); r.Status != http.StatusSeeOther || !strings.HasPrefix(r.Get("Location"), "/sign-in?") {
		t.Errorf("the old cookie's page: %+v", r)
	}
	want(t, "the old cookie's API", old.get("/api/overview").Status, http.StatusUnauthorized)
	want(t, "the old cookie's events", strings.Contains(old.get("/events?page=/topics").Body, "orders"), false)
	b.visit("/topics/orders")
	b.at("/sign-in?")
}

// TestSlowDown guesses passwords until there is a wait, that of another user is none.
func TestSlowDown(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 0, "--users-file="+people(t, ""))
	s := newScript(t, h.base)
	tried := 0
	for ; tried < 20; tried++ {
		if r := s.signIn("otto", "guess"); r.Status == http.StatusTooManyRequests {
			break
		} else if r.Status != http.StatusUnauthorized {
			t.Fatalf("guessing: %+v", r)
		}
	}
	if tried < 3 || tried == 20 {
		t.Errorf("there was a wait after %d attempts", tried)
	}
	for range 3 { // it grows
		for s.signIn("otto", "guess").Status == http.StatusUnauthorized {
		}
		wait(t, "the wait being over", func() bool { return s.signIn("otto", "guess").Status == http.StatusUnauthorized })
	}
	r := s.signIn("otto", password)
	want(t, "the right password in between", r.Status, http.StatusTooManyRequests)
	if r.Get("Retry-After") == "" || !strings.Contains(r.Body, "Too many attempts") {
		t.Errorf("it is said so: %+v", r)
	}
	b := open(t, h.base)
	b.visit("/sign-in")
	b.signIn("otto", "guess")
	b.shows("Too many attempts to sign in have failed.")
	b.expect("429 (Too Many Requests)")
	b.signIn("vera", password) // not her
	b.at("/")
}

// allowed are the actions of a role.
func allowed(t *testing.T, s *script) (may, mayNot []string) {
	t.Helper()
	var table struct {
		Actions []struct {
			Name    string
			Allowed bool
		}
	}
	r := s.get("/api/actions")
	if err := json.Unmarshal([]byte(r.Body), &table); err != nil || len(table.Actions) == 0 {
		t.Fatalf("the actions: %v: %+v", err, r)
	}
	for _, a := range table.Actions {
		if a.Allowed {
			may = append(may, a.Name)
		} else {
			mayNot = append(mayNot, a.Name)
		}
	}
	return may, mayNot
}

// operators are what one may do who may not do all: what can be undone.
var operators = []string{
	"create-topic", "create-channel", "pause-topic", "unpause-topic", "pause-channel", "unpause-channel", "pause-node", "unpause-node",
	"publish", "revive", "copy", "move", "disconnect",
}

// TestRoles shows to each role the buttons of what it may do, and no other, on all
// pages that have some; and refuses what is not allowed to requests that were forged:
// of forms and of the API, ours and nsqadmin's.
func TestRoles(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1, "--users-file="+people(t, ""))
	node := h.qds[0].http
	h.bury("orders", "ship", 2)
	subscribe(t, tcpOf(h.qds[0]), "orders", "ship", "reader", 0)
	message := h.message("orders", "ship", "dead")
	before := h.everything()
	for _, name := range []string{"vera", "otto", "ada"} {
		t.Run(name, func(t *testing.T) {
			b := open(t, h.base)
			b.visit("/sign-in")
			b.signIn(name, password)
			s := b.script()
			may, mayNot := allowed(t, s)
			switch name {
			case "vera":
				want(t, "what she may do", len(may), 0)
			case "otto":
				want(t, "what he may do", strings.Join(may, " "), strings.Join(operators, " "))
			case "ada":
				want(t, "what she may not do", len(mayNot), 0)
			}
			offered := b.offers("/topics", "/topics/orders", "/topics/orders/ship", "/topics/orders/ship/messages?state=dead",
				"/topics/orders/messages/"+message, "/nodes/"+node, "/lookup")
			for _, action := range offered {
				if !slices.Contains(may, action) {
					t.Errorf("a button of %s is shown to %s", action, name)
				}
			}
			for _, action := range may { // none is paused, and so nothing can be resumed but a node
				if !slices.Contains(offered, action) && action != "unpause-topic" && action != "unpause-channel" && action != "forget" {
					t.Errorf("no button of %s is shown to %s: %v", action, name, offered)
				}
			}
			for _, action := range mayNot {
				h.forge(s, action, message, "FORBIDDEN")
			}
			if len(mayNot) > 0 {
				h.forgeNSQ(s, name == "otto", "FORBIDDEN")
				b.visit("/topics/orders") // and out of a page of ours
				got := b.evalAsync(`fetch("/do/delete-topic", {method: "POST", body: new URLSearchParams({topic: "orders", confirm: "orders"})}).then(r => r.status + "")`)
				want(t, "a page's own request", got, "403")
				b.expect("403 (Forbidden)")
				b.visit("/do/delete-topic?topic=orders")
				b.shows("Delete topic is for the role admin, and you are ")
				b.expect("403 (Forbidden)")
			}
		})
	}
	if after := h.everything(); after != before {
		t.Errorf("what was refused has changed\n%s\nto\n%s", before, after)
	}
}

// message is the ID of one of the messages of a channel.
func (h *house) message(topic, channel, state string) string {
	h.t.Helper()
	var list struct{ Messages []struct{ ID string } }
	ask(h.t, "http://"+h.qds[0].http+"/channel/messages?"+query([]string{"topic", topic, "channel", channel, "state", state}), &list)
	if len(list.Messages) == 0 {
		h.t.Fatalf("no message of %s/%s is %s", topic, channel, state)
	}
	return list.Messages[0].ID
}

// everything is what daemons have, for comparing it.
func (h *house) everything() string {
	h.t.Helper()
	var all []any
	for _, q := range h.qds {
		var f figures
		ask(h.t, "http://"+q.http+"/stats?format=json", &f)
		all = append(all, f)
	}
	var names any
	ask(h.t, "http://"+h.lookup.http+"/topics", &names)
	text, err := json.Marshal(append(all, names))
	if err != nil {
		h.t.Fatal(err)
	}
	return string(text)
}

// offers are the actions that some pages have links or buttons for.
func (b *tab) offers(paths ...string) (all []string) {
	b.t.Helper()
	for _, path := range paths {
		b.reach(path)
		found := b.eval(`[...document.querySelectorAll("main [href*='/do/'], main [formaction*='/do/'], main form[action*='/do/']")]
			.flatMap(e => ["href", "formaction", "action"].map(a => e.getAttribute(a))).filter(a => a?.includes("/do/"))
			.map(a => new URL(a, location.href).pathname.split("/").at(-1)).join(" ")`)
		all = append(all, strings.Fields(found)...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// evalAsync is eval of what is promised.
func (b *tab) evalAsync(script string) string {
	b.t.Helper()
	got, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](script, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v", script, err)
	}
	return got
}

// forge asks for an action by a form and by the API, right in everything but who asks.
func (h *house) forge(s *script, action, message, code string) {
	s.t.Helper()
	node := h.qds[0].http
	target := map[string]string{"topic": "orders", "channel": "ship"}
	args := map[string]string{}
	switch action {
	case "create-topic", "pause-topic", "unpause-topic", "empty-topic", "delete-topic", "publish", "topic-policy", "forget":
		delete(target, "channel")
	case "pause-node", "unpause-node", "drain-node":
		target = map[string]string{"node": node}
	case "tombstone":
		target = map[string]string{"topic": "orders", "node": node}
	case "revive", "delete-dead", "copy", "move":
		target["id"], target["node"] = message, node
	case "disconnect":
		target = map[string]string{"node": node, "id": "1"}
	}
	switch action {
	case "publish":
		args["body"] = "forged"
	case "copy", "move", "seek":
		args["to"] = map[string]string{"seek": "latest"}[action] + map[string]string{"copy": "forged", "move": "forged"}[action]
	case "topic-policy":
		args["max_messages"] = "1"
	case "channel-policy":
		args["max_attempts"] = "1"
	}
	form := url.Values{}
	for _, fields := range []map[string]string{target, args} {
		for name, value := range fields {
			form.Set(name, value)
		}
	}
	form.Set("confirm", "orders")
	if target["channel"] != "" {
		form.Set("confirm", "ship")
	} else if target["topic"] == "" {
		form.Set("confirm", node)
	}
	r := s.send(http.MethodPost, "/do/"+action, form)
	heading := map[string]string{"FORBIDDEN": "Not allowed", "READ_ONLY": "Not done"}[code]
	if r.Status != http.StatusForbidden || !strings.Contains(r.Body, "<h1>"+heading+"</h1>") {
		s.t.Errorf("the forged form of %s: %d %s", action, r.Status, r.Body)
	}
	r = s.act(action, target, args)
	if r.Status != http.StatusForbidden || !strings.Contains(r.Body, `"message":"`+code+": ") {
		s.t.Errorf("the forged request of %s: %d %s", action, r.Status, r.Body)
	}
}

// forgeNSQ asks for what nsqadmin's API can change: all, or what is for admins only.
func (h *house) forgeNSQ(s *script, adminsOnly bool, code string) {
	s.t.Helper()
	type request struct{ method, path, body string }
	list := []request{
		{"DELETE", "/api/topics/orders", ""},
		{"DELETE", "/api/topics/orders/ship", ""},
		{"DELETE", "/api/nodes/" + h.qds[0].http, `{"topic":"orders"}`},
		{"POST", "/api/topics/orders", `{"action":"empty"}`},
		{"POST", "/api/topics/orders/ship", `{"action":"empty"}`},
		{"PUT", "/config/log_level", `debug`},
	}
	if !adminsOnly {
		list = append(list, request{"POST", "/api/topics", `{"topic":"forged"}`}, request{"POST", "/api/topics/orders", `{"action":"pause"}`},
			request{"POST", "/api/topics/orders/ship", `{"action":"unpause"}`})
	}
	for _, r := range list {
		got := s.send(r.method, r.path, r.body)
		if got.Status != http.StatusForbidden || !strings.Contains(got.Body, code) {
			s.t.Errorf("%s %s: %d %s", r.method, r.path, got.Status, got.Body)
		}
	}
}

// TestBodies shows messages' bodies to operators and not to viewers, wherever there are
// some.
func TestBodies(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1, "--users-file="+people(t, ""))
	h.post(0, "/topic/create", "", "topic", "orders")
	h.post(0, "/channel/create", "", "topic", "orders", "channel", "ship")
	h.post(0, "/pub", `{"card":"4929-1234"}`, "topic", "orders")
	message := h.message("orders", "ship", "ready")
	pages := []string{
		"/topics/orders/ship/messages", "/topics/orders/ship/messages?as=hex", "/topics/orders/messages/" + message,
		"/topics/orders/messages/" + message + "?as=hex", "/topics/orders/messages/" + message + "?size=1048576", "/search?q=" + message,
	}
	answers := []string{
		"/api/messages?topic=orders&channel=ship", "/api/messages?topic=orders&channel=ship&body=65536", "/api/message?id=" + message,
		"/api/message?topic=orders&id=" + message,
	}
	vera, otto := h.as(t, "vera"), h.as(t, "otto")
	for _, path := range slices.Concat(pages, answers) {
		r := vera.get(path)
		for _, part := range []string{"4929", "34 39 32 39", "34393239", "eyJjYXJk"} { // as text, hex and base64
			if strings.Contains(r.Body, part) {
				t.Errorf("%s shows the body to a viewer", path)
			}
		}
		want(t, path, r.Status, http.StatusOK)
	}
	for _, path := range answers {
		if r := vera.get(path); !strings.Contains(r.Body, `"masked":true`) {
			t.Errorf("%s does not say that the body is masked: %s", path, r.Body)
		}
		if r := otto.get(path); !strings.Contains(r.Body, "4929") {
			t.Errorf("%s shows no body to an operator: %s", path, r.Body)
		}
	}
	raw := "/topics/orders/messages/" + message + "/raw?node=" + h.qds[0].http
	if r := vera.get(raw); r.Status != http.StatusForbidden || strings.Contains(r.Body, "4929") {
		t.Errorf("the raw body for a viewer: %+v", r)
	}
	if r := otto.get(raw); r.Status != http.StatusOK || r.Body != `{"card":"4929-1234"}` {
		t.Errorf("the raw body for an operator: %+v", r)
	}
	for name, sees := range map[string]bool{"vera": false, "otto": true} {
		b := open(t, h.base)
		b.visit("/sign-in")
		b.signIn(name, password)
		b.reach("/topics/orders/ship/messages")
		b.shows(message)
		want(t, name+" sees the body", strings.Contains(b.text(), "4929"), sees)
		if !sees {
			b.shows("Bodies are not shown to the role viewer.")
		}
	}
}

// TestReadOnly can change nothing, whoever asks.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1, "--read-only")
	h.bury("orders", "ship", 2)
	message := h.message("orders", "ship", "dead")
	before := h.everything()
	b := open(t, h.base)
	offered := b.offers("/topics", "/topics/orders", "/topics/orders/ship", "/topics/orders/ship/messages?state=dead",
		"/topics/orders/messages/"+message, "/nodes/"+h.qds[0].http, "/lookup")
	want(t, "buttons", strings.Join(offered, " "), "")
	b.shows("read-only")
	s := newScript(t, h.base)
	may, mayNot := allowed(t, s)
	want(t, "what may be done", len(may), 0)
	for _, action := range mayNot {
		h.forge(s, action, message, "READ_ONLY")
	}
	h.forgeNSQ(s, false, "READ_ONLY")
	if after := h.everything(); after != before {
		t.Errorf("a read-only admin has changed\n%s\nto\n%s", before, after)
	}
}
