package qd_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// rules are an access file in which the token of each is his name.
func rules(t *testing.T, text string, names ...string) (path string) {
	t.Helper()
	for _, n := range names {
		text += fmt.Sprintf("[[token]]\nname = %q\nsha256 = \"%x\"\n", n, sha256.Sum256([]byte(n)))
	}
	path = filepath.Join(t.TempDir(), "access.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestAccessOverHTTP asks a daemon for things with tokens.
func TestAccessOverHTTP(t *testing.T) {
	path := rules(t, `
[[rule]]
who = ["billing"]
rights = ["publish", "stats", "manage"]
topics = ["bill.*"]

[[rule]]
who = ["ops"]
rights = ["manage", "publish"]
`, "billing", "ops", "nobody")
	settings := settings(t)
	settings.AccessFile = path
	d, stop := start(t, settings)
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	ask := func(method, who, what string) (int, string, http.Header) {
		t.Helper()
		r, err := http.NewRequest(method, "http://"+d.HTTPAddr().String()+what, strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		if who != "" {
			r.Header.Set("Authorization", "Bearer "+who)
		}
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		text, _ := io.ReadAll(a.Body)
		return a.StatusCode, string(text), a.Header
	}
	defer http.DefaultClient.CloseIdleConnections()
	for _, c := range []struct {
		method, who, what string
		status            int
	}{
		{"GET", "", "/ping", 200}, {"GET", "wrong", "/ready", 200},
		{"GET", "", "/stats", 401}, {"GET", "", "/info", 401}, {"POST", "", "/pub?topic=bill.a", 401},
		{"POST", "wrong", "/pub?topic=bill.a", 401}, {"POST", "nobody", "/pub?topic=bill.a", 403},
		{"POST", "billing", "/pub?topic=bill.a", 200}, {"POST", "billing", "/mpub?topic=bill.a", 200},
		{"POST", "billing", "/pub?topic=other", 403}, {"POST", "ops", "/pub?topic=other", 200},
		{"POST", "billing", "/pub?topic=other&topic=bill.a", 403},
		{"POST", "billing", "/channel/create?topic=bill.a&channel=c", 200}, {"POST", "billing", "/topic/delete?topic=other", 403},
		// What is about the daemon is not about a topic that is named beside it.
		{"PUT", "billing", "/config/log_level?topic=bill.a", 403}, {"GET", "billing", "/config?topic=bill.a", 403},
		{"POST", "billing", "/drain?topic=bill.a", 403}, {"GET", "billing", "/metrics?topic=bill.a", 403},
		{"GET", "billing", "/debug/pprof/cmdline?topic=bill.a", 403}, {"GET", "ops", "/debug/pprof/cmdline", 200},
		{"GET", "ops", "/metrics", 200}, {"GET", "billing", "/info", 200}, {"GET", "nobody", "/info", 403},
	} {
		status, text, header := ask(c.method, c.who, c.what)
		if status != c.status || (status == 401) != (header.Get("WWW-Authenticate") != "") {
			t.Errorf("%s %s by %q: %d %.200s", c.method, c.what, c.who, status, text)
		}
		if c.who == "wrong" && strings.Contains(text, "wrong") {
			t.Errorf("the token is told: %s", text)
		}
	}
	for who, want := range map[string][2]bool{"billing": {true, false}, "ops": {true, true}} {
		for _, format := range []string{"text", "json"} {
			_, text, _ := ask("GET", who, "/stats?format="+format)
			if strings.Contains(text, "bill.a") != want[0] || strings.Contains(text, "other") != want[1] {
				t.Errorf("%s sees %s", who, text)
			}
		}
	}
}
