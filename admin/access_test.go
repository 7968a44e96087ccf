package admin_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/admin"
	"github.com/millrace-mq/millrace/admin/cluster/clustertest"
	"github.com/millrace-mq/millrace/admin/signin"
)

// people are who may sign in, each with his name as password; nobody does not.
var people = []string{"nobody", "viewer", "operator", "admin"}

// withPeople are the settings of an admin below /mq to which they sign in.
func withPeople(t *testing.T) admin.Settings {
	t.Helper()
	s := settings(clustertest.NewFleet(t, clustertest.Nodes(1), clustertest.Topics(1)))
	var text strings.Builder
	for _, role := range people[1:] {
		hash, err := signin.Hash(role)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&text, "[[users]]\nname = %q\npassword = %q\nrole = %[1]q\n", role, hash)
	}
	s.BasePath, s.UsersFile = "/mq", filepath.Join(t.TempDir(), "users.toml")
	if err := os.WriteFile(s.UsersFile, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// browser is one in which somebody has signed in, and which shows redirects.
func browser(t *testing.T, base, name string) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if name == "nobody" {
		return c
	}
	r, err := c.PostForm(base+"/sign-in", url.Values{"name": {name}, "password": {name}})
	if err != nil {
		t.Fatal(err)
	}
	if r.Body.Close(); r.StatusCode != http.StatusSeeOther {
		t.Fatalf("signing in as %s: %s", name, r.Status)
	}
	return c
}

// send sends a request, and returns the status, where it redirects to, and the body.
func send(t *testing.T, c *http.Client, method, url, body string, header ...string) (status int, to, text string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	all, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, answer.Header.Get("Location"), string(all)
}

// TestEveryRoleEverywhere asks for all kinds of addresses in each role, by the methods
// that there are.
func TestEveryRoleEverywhere(t *testing.T) {
	s := withPeople(t)
	base, _, stop := serve(t, s)
	defer stop()
	browsers := make(map[string]*http.Client)
	for _, who := range people {
		browsers[who] = browser(t, base, who)
		defer browsers[who].CloseIdleConnections()
	}
	until(t, "the topic being listed", func() bool {
		_, _, page := send(t, browsers["viewer"], "GET", base+"/topics", "")
		return strings.Contains(page, clustertest.TopicName(0))
	})
	topic := clustertest.TopicName(0)
	for _, tt := range []struct {
		method, path, body string
		want               [4]int // by role
	}{
		{"GET", "/", "", [4]int{303, 200, 200, 200}},
		{"HEAD", "/", "", [4]int{303, 200, 200, 200}},
		{"OPTIONS", "/", "", [4]int{401, 405, 405, 405}},
		{"TRACE", "/", "", [4]int{401, 405, 405, 405}},
		{"POST", "/topics", "", [4]int{401, 405, 405, 405}},
		{"GET", "/topics/" + topic, "", [4]int{303, 200, 200, 200}},
		{"GET", "/topics/" + topic + "/", "", [4]int{303, 200, 200, 200}},
		{"GET", "/settings", "", [4]int{303, 200, 200, 200}},
		{"GET", "/audit", "", [4]int{303, 200, 200, 200}},
		{"GET", "/find?q=o", "", [4]int{303, 200, 200, 200}},
		{"GET", "/sign-in", "", [4]int{200, 200, 200, 200}},
		{"GET", "/do/pause-topic?topic=" + topic, "", [4]int{303, 403, 200, 200}},
		{"GET", "/do/empty-topic?topic=" + topic, "", [4]int{303, 403, 403, 200}},
		{"POST", "/do/pause-topic", "topic=" + topic, [4]int{401, 403, 303, 303}},
		{"POST", "/do/empty-topic", "topic=" + topic + "&confirm=" + topic, [4]int{401, 403, 403, 303}},
		{"GET", "/api/topics", "", [4]int{401, 200, 200, 200}},
		{"GET", "/api/topics/", "", [4]int{401, 200, 200, 200}},
		{"GET", "/api/TOPICS", "", [4]int{401, 404, 404, 404}},
		{"GET", "/api", "", [4]int{401, 404, 404, 404}},
		{"GET", "/config", "", [4]int{303, 404, 404, 404}},
		{"GET", "/api/settings", "", [4]int{401, 200, 200, 200}},
		{"POST", "/api/topics/" + topic, `{"action":"pause"}`, [4]int{401, 403, 200, 200}},
		{"POST", "/api/topics/" + topic, `{"action":"empty"}`, [4]int{401, 403, 403, 200}},
		{"DELETE", "/api/topics/none", "", [4]int{401, 403, 403, 502}},
		{"DELETE", "/api/topics/none/", "", [4]int{401, 403, 403, 502}},
		{"POST", "/api/actions", `{"action":"delete-topic","targets":[{"topic":"none"}]}`, [4]int{401, 403, 403, 502}},
		{"GET", "/config/users_file", "", [4]int{401, 200, 200, 200}},
		{"PUT", "/config/users_file", "x", [4]int{401, 403, 403, 400}},
		{"GET", "/ping", "", [4]int{200, 200, 200, 200}},
		{"GET", "/ping/", "", [4]int{303, 404, 404, 404}},
		{"GET", "//topics", "", [4]int{400, 400, 400, 400}},
		{"GET", "/static/../topics", "", [4]int{400, 400, 400, 400}},
		{"GET", "/static/%2e%2e/topics", "", [4]int{400, 400, 400, 400}},
		{"GET", "/static/..%2ftopics", "", [4]int{400, 400, 400, 400}},
		{"GET", `/%5cevil.example`, "", [4]int{400, 400, 400, 400}},
	} {
		for i, who := range people {
			status, to, text := send(t, browsers[who], tt.method, base+tt.path, tt.body, "Content-Type", "application/x-www-form-urlencoded")
			if status != tt.want[i] {
				t.Errorf("%s %s as %s: %d, not %d: %.200s", tt.method, tt.path, who, status, tt.want[i], text)
			}
			if to != "" && !strings.HasPrefix(to, "/mq/") {
				t.Errorf("%s %s as %s redirects to %s", tt.method, tt.path, who, to)
			}
		}
	}
}

// TestWhereToGoOn wants whoever signs in, or chooses a theme, to stay below the base path.
func TestWhereToGoOn(t *testing.T) {
	base, _, stop := serve(t, withPeople(t))
	defer stop()
	c := browser(t, base, "nobody")
	defer c.CloseIdleConnections()
	for _, back := range []string{
		"//evil.example", `/\evil.example`, "https://evil.example", "https:evil.example", "javascript:alert(1)", "/\tevil", "/\r\nX: y", "evil",
		"/../other", "/./..//evil.example", "/a/../../other", "/..", "/%2e%2e/other", "/.%2E/other", "/..?x=y", "/@evil.example", "/%2fevil.example", "/topics?q=//evil.example",
	} {
		for path, form := range map[string]url.Values{
			"/sign-in": {"name": {"viewer"}, "password": {"viewer"}, "back": {back}},
			"/theme":   {"theme": {"dark"}, "back": {back}},
		} {
			status, to, _ := send(t, c, "POST", base+path, form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
			if status != http.StatusSeeOther || !strings.HasPrefix(to, "/mq/") || strings.HasPrefix(to, "/mq//") || strings.Contains(strings.ToLower(strings.ReplaceAll(to, "%2e", ".")), "/..") {
				t.Errorf("%s back to %q: %d %q", path, back, status, to)
			}
		}
	}
}

// TestSecretsOfSettings wants a webhook's URL to be known to nobody who only looks.
func TestSecretsOfSettings(t *testing.T) {
	s := withPeople(t)
	s.Webhook = "http://user:hunter1@127.0.0.1:1/hooks/hunter2?token=hunter3"
	base, said, stop := serve(t, s)
	defer stop()
	c := browser(t, base, "admin")
	defer c.CloseIdleConnections()
	for _, path := range []string{"/settings", "/api/settings", "/config/notification_http_endpoint"} {
		if status, _, text := send(t, c, "GET", base+path, ""); status != http.StatusOK || strings.Contains(text, "hunter") || !strings.Contains(text, "127.0.0.1:1/***") {
			t.Errorf("%s: %d %.500s", path, status, text)
		}
	}
	until(t, "the webhook failing", func() bool { return strings.Contains(said.String(), "webhook") })
	if strings.Contains(said.String(), "hunter") {
		t.Errorf("the log has it: %s", said)
	}
	s.Webhook = "ftp://h/hunter4"
	if err := s.Validate(); err == nil || strings.Contains(err.Error(), "hunter") {
		t.Errorf("%v", err)
	}
}

// TestConfigFrom wants the same to be taken as nsqadmin takes, and a single address.
func TestConfigFrom(t *testing.T) {
	for from, good := range map[string]bool{"": true, "10.0.0.1/8": true, "10.0.0.1": true, "::1": true, "10.0.0": false} {
		s := admin.DefaultSettings()
		s.Daemons, s.ConfigFrom = []string{"127.0.0.1:1"}, from
		if err := s.Validate(); (err == nil) != good {
			t.Errorf("%q: %v", from, err)
		}
	}
}

// TestNobodyConfigured wants an admin that is open to this machine to be open to it alone.
func TestNobodyConfigured(t *testing.T) {
	f := clustertest.NewFleet(t, clustertest.Nodes(1))
	base, _, stop := serve(t, settings(f))
	defer stop()
	c := browser(t, base, "nobody")
	defer c.CloseIdleConnections()
	for _, tt := range []struct {
		method, path, header, value string
		want                        int
	}{
		{"GET", "/api/overview", "Accept", "*/*", 200},
		{"GET", "/api/overview", "X-Forwarded-For", "192.0.2.1", 403},
		{"GET", "/api/overview", "Forwarded", "for=192.0.2.1", 403},
		{"GET", "/api/overview", "X-Forwarded-User", "admin", 200},
		{"POST", "/api/topics", "Origin", "http://evil.example", 403},
		{"POST", "/api/topics", "Origin", "null", 403},
		{"POST", "/api/topics", "Sec-Fetch-Site", "same-site", 403},
		{"POST", "/api/topics", "Sec-Fetch-Site", "same-origin", 200},
	} {
		status, _, text := send(t, c, tt.method, base+tt.path, `{"topic":"new"}`, tt.header, tt.value, "Content-Type", "text/plain")
		if status != tt.want {
			t.Errorf("%s %s with %s %s: %d %s", tt.method, tt.path, tt.header, tt.value, status, text)
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), "GET", base+"/events?page=/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Forwarded-For", "192.0.2.1")
	answer, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		if event, ok := strings.CutPrefix(lines.Text(), "event: "); ok && event != "reload" {
			t.Fatalf("whoever comes through a proxy is sent %s", event)
		}
	}
	r.Host = "evil.example" // a name of somebody else's that leads here
	if answer, err = c.Do(r); err != nil || answer.StatusCode != http.StatusForbidden {
		t.Error(answer, err)
	}
	answer.Body.Close()
	s := settings(f)
	s.HTTPAddress = "0.0.0.0:0"
	if d, err := admin.Listen(s, discard, nil); err == nil {
		t.Error("it is open to everybody", d.Close())
	}
}
