package signin_test

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/admin/signin"
)

const cookie = "millrace_session"

func TestEachRole(t *testing.T) {
	r := start(t, signin.Settings{}, everyRole)
	for name, want := range map[string]string{"vera": "vera viewer password", "otto": "otto operator password", "anna": "anna admin password"} {
		b := r.browser()
		expect(t, "before", b.as(), "")
		b.in(name)
		expect(t, "after", b.as(), want)
		if who := b.get("/").who; who.Remote != "192.0.2.7" || who.UserAgent != "test" {
			t.Errorf("%+v", who)
		}
	}
	for name, password := range map[string]string{"vera": "of anna", "nobody": "of vera", "": "", "VERA": "of vera", "vera\x00": "of vera", "anna": ""} {
		b := r.browser()
		a := b.signIn(name, password)
		if a.StatusCode != http.StatusUnauthorized || !strings.Contains(a.text, "The name or the password is wrong.") || len(b.cookies) > 0 {
			t.Errorf("%q: %d %q", name, a.StatusCode, a.text)
		}
	}
	if said := r.said.String(); strings.Count(said, "\n") != 1 || strings.Contains(said, "vera") {
		t.Errorf("said: %s", said)
	}
}

// Whoever is not signed in gets no further than the sign-in page.
func TestTheGate(t *testing.T) {
	r := start(t, signin.Settings{Base: "/x/"}, everyRole)
	for _, tt := range []struct {
		method, target string
		status         int
		want           string // the place to go on, or a part of the answer
	}{
		{"GET", "/", 303, "/x/sign-in?back=%2F"},
		{"GET", "/topics/T?sort=a&q=%26", 303, "/x/sign-in?back=%2Ftopics%2FT%3Fsort%3Da%26q%3D%2526"},
		{"HEAD", "/topics", 303, "/x/sign-in?back=%2Ftopics"},
		{"POST", "/do/delete-topic", 401, "Not signed in"},
		{"DELETE", "/topics", 401, "Not signed in"},
		{"GET", "/api/topics", 401, `{"message":"UNAUTHORIZED: Sign in, and try again."}`},
		{"GET", "/api", 401, `{"message"`},
		{"POST", "/api/topics", 401, `{"message"`},
		{"PUT", "/config/log_level", 401, `{"message"`},
		{"GET", "/sign-in/", 303, "/x/sign-in?back=%2Fsign-in%2F"},
		{"GET", "/static", 303, "/x/sign-in?back=%2Fstatic"},
		{"GET", "/static/app.css", 200, ""},
		{"GET", "/ping", 200, ""},
		{"GET", "/events?page=/", 200, ""}, // which says that the page is to be loaded anew
	} {
		a := r.browser().send(tt.method, tt.target, nil)
		got := a.text
		if a.StatusCode == 303 {
			got = a.Header.Get("Location")
		}
		if a.StatusCode != tt.status || !strings.Contains(got, tt.want) || a.who.Role != signin.Nobody {
			t.Errorf("%s %s: %d %q, want %d %q", tt.method, tt.target, a.StatusCode, got, tt.status, tt.want)
		}
	}
	for _, method := range []string{"GET", "PUT", "HEAD"} {
		for _, path := range []string{"/sign-in", "/sign-out"} {
			if a := r.browser().send(method, path, nil); a.StatusCode != http.StatusMethodNotAllowed || a.Header.Get("Allow") != "POST" {
				t.Errorf("%s %s: %d", method, path, a.StatusCode)
			}
		}
	}
}

func TestWhereItGoesOn(t *testing.T) {
	r := start(t, signin.Settings{Base: "/x/y/"}, everyRole)
	for back, want := range map[string]string{
		"": "/x/y/", "/": "/x/y/", "/topics?q=a%20b&sort=x": "/x/y/topics?q=a%20b&sort=x",
		"//evil.example": "/x/y/", `/\evil.example`: "/x/y/", "https://evil.example/": "/x/y/", "evil": "/x/y/", "/\t/evil.example": "/x/y/",
		"/a\r\nSet-Cookie: x=y": "/x/y/", "javascript:alert(1)": "/x/y/", "/" + strings.Repeat("x", 5000): "/x/y/",
	} {
		a := r.browser().send("POST", "/sign-in", url.Values{"name": {"anna"}, "password": {"of anna"}, "back": {back}})
		expect(t, back, a.Header.Get("Location"), want)
	}
	// At the root a second slash would make a host of what follows.
	root := start(t, signin.Settings{}, everyRole)
	a := root.browser().send("POST", "/sign-in", url.Values{"name": {"anna"}, "password": {"of anna"}, "back": {"//evil.example"}})
	expect(t, "at the root", a.Header.Get("Location"), "/")
}

// A cookie of which any byte is changed is worth nothing.
func TestTamperedCookies(t *testing.T) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	r := start(t, signin.Settings{}, everyRole)
	b := r.browser().in("anna")
	good := b.cookies[cookie].Value
	try := func(what, value string) {
		b.cookies[cookie].Value = value
		if a := b.get("/topics"); a.StatusCode != http.StatusSeeOther {
			t.Errorf("%s: %d %s", what, a.StatusCode, a.text)
		}
	}
	for i := range good {
		changed := []byte(good)
		at := strings.IndexByte(alphabet, good[i])
		if at < 0 {
			continue // what fills up the last four
		}
		changed[i] = alphabet[at^32] // a bit that counts, whatever follows
		try("a changed byte", string(changed))
		try("a part", good[:i])
	}
	try("more", good+"A")
	try("twice", good+good)
	try("nothing", "")
	try("much", strings.Repeat("A", 100_000))
	other := start(t, signin.Settings{}, everyRole).browser().in("anna")
	try("another key's", other.cookies[cookie].Value)
	b.cookies[cookie].Value = good
	expect(t, "the right one", b.as(), "anna admin password")
	if n := strings.Count(r.said.String(), "\n"); n != 1 {
		t.Errorf("said in %d lines", n)
	}
}

func TestSecureCookies(t *testing.T) {
	r := start(t, signin.Settings{Proxies: []string{"10.0.0.0/8"}}, everyRole)
	for _, tt := range []struct {
		from, proto string
		tls, want   bool
	}{
		{"192.0.2.7:1", "", false, false}, {"192.0.2.7:1", "", true, true}, {"192.0.2.7:1", "https", false, false},
		{"10.1.1.1:1", "https", false, true}, {"10.1.1.1:1", "HTTPS, http", false, true}, {"10.1.1.1:1", "http", false, false}, {"10.1.1.1:1", "", false, false},
	} {
		b := r.browser()
		b.from, b.tls = tt.from, tt.tls
		b.header.Set("X-Forwarded-Proto", tt.proto)
		if got := b.in("anna").cookies[cookie].Secure; got != tt.want {
			t.Errorf("%+v: Secure is %v", tt, got)
		}
	}
}

func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, signin.Settings{Idle: time.Hour, Longest: 10 * time.Hour}, everyRole)
		b := r.browser().in("anna")
		if c := b.cookies[cookie]; c.MaxAge != 3600 || c.Path != "/" {
			t.Errorf("%+v", c)
		}
		early := b.cookies[cookie]
		for range 19 { // used every half hour it lives
			time.Sleep(30 * time.Minute)
			expect(t, "in use", b.as(), "anna admin password")
		}
		if got := b.cookies[cookie].MaxAge; got != 30*60 {
			t.Errorf("half an hour before the end the browser is to keep it for %d s", got)
		}
		late := *b.cookies[cookie]
		time.Sleep(31 * time.Minute)
		expect(t, "after ten hours", b.as(), "")
		b.cookies[cookie] = &late
		expect(t, "after ten hours, by a browser that keeps it", b.as(), "")

		b.in("anna")
		time.Sleep(59 * time.Minute)
		expect(t, "idle for less than an hour", b.as(), "anna admin password")
		time.Sleep(time.Hour)
		expect(t, "idle for an hour", b.as(), "")
		b.cookies[cookie] = early
		expect(t, "an early one", b.as(), "")
	})
}

func TestSigningOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, signin.Settings{}, everyRole)
		b, other := r.browser().in("anna"), r.browser().in("anna")
		early := *b.cookies[cookie]
		time.Sleep(time.Hour)
		expect(t, "in", b.as(), "anna admin password")
		late := *b.cookies[cookie]
		if late.Value == early.Value {
			t.Fatal("the cookie was not refreshed")
		}
		if a := b.send("POST", "/sign-out", nil); a.StatusCode != http.StatusSeeOther || len(b.cookies) != 0 {
			t.Errorf("%d, %v", a.StatusCode, b.cookies)
		}
		// Whoever has copied a cookie of that session is out as well; other sessions go on.
		for _, c := range []http.Cookie{early, late} {
			b.cookies[cookie] = &c
			expect(t, "a copy", b.as(), "")
		}
		expect(t, "another session", other.as(), "anna admin password")
		// Who signs in as somebody else ends the session of before.
		before := *other.cookies[cookie]
		other.in("vera")
		expect(t, "after", other.as(), "vera viewer password")
		other.cookies[cookie] = &before
		expect(t, "before", other.as(), "")
		if a := r.browser().send("POST", "/sign-out", nil); a.StatusCode != http.StatusSeeOther {
			t.Errorf("who is not in cannot sign out: %d", a.StatusCode)
		}
	})
}

func TestChangesOfTheFile(t *testing.T) {
	r := start(t, signin.Settings{}, everyRole)
	b := r.browser().in("otto")
	anna := r.browser().in("anna")
	change := func(old, new string) {
		t.Helper()
		text, err := os.ReadFile(r.file)
		if err != nil || !strings.Contains(string(text), old) {
			t.Fatal(err, old)
		}
		write(t, r.file, strings.Replace(string(text), old, new, 1))
	}
	change(`"operator"`, `"viewer"`)
	expect(t, "a lower role", b.as(), "otto viewer password")
	change("[[users]]", "[[users]")
	expect(t, "a file that is broken", b.as(), "otto viewer password")
	change("[[users]", "[[users]]")
	change(`"otto"`, `"max"`)
	expect(t, "removed", b.as(), "")
	change(`"max"`, `"otto"`)
	expect(t, "back again", b.as(), "otto viewer password")
	expect(t, "others", anna.as(), "anna admin password")

	// Another password, of the same length and within the same tick of the file's clock.
	tick := time.Now().Add(time.Second)
	touch := func() {
		t.Helper()
		if err := os.Chtimes(r.file, tick, tick); err != nil {
			t.Fatal(err)
		}
	}
	touch()
	text, _ := os.ReadFile(r.file)
	at := strings.Index(string(text), "$2a$") // vera's
	vera := r.browser().in("vera")
	copy(text[at:], quick("another"))
	write(t, r.file, string(text))
	touch()
	expect(t, "another password", vera.as(), "")
	if a := vera.signIn("vera", "another"); a.StatusCode != http.StatusSeeOther {
		t.Errorf("the new password: %d", a.StatusCode)
	}

	// Neither an empty file nor none lets everybody in.
	for _, hurt := range []func() error{
		func() error { return os.Truncate(r.file, 0) },
		func() error { return os.Remove(r.file) },
	} {
		if err := hurt(); err != nil {
			t.Fatal(err)
		}
		expect(t, "who is in", anna.as(), "anna admin password")
		expect(t, "who is not", r.browser().as(), "")
		if !r.Configured() {
			t.Error("nobody is configured any more")
		}
	}
	for _, line := range []string{"users.toml:2: expected end of table", "lets nobody in", "there is no such file"} {
		if n := strings.Count(r.said.String(), line); n != 1 {
			t.Errorf("%q is said %d times: %s", line, n, r.said.String())
		}
	}
}

func TestKeyFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "key")
	b := start(t, signin.Settings{KeyFile: file}, everyRole).browser().in("anna")
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatal(info, err)
	}
	if all, _ := os.ReadDir(dir); len(all) != 1 {
		t.Errorf("%d files beside the key", len(all)-1)
	}
	text, _ := os.ReadFile(b.file)
	again := start(t, signin.Settings{KeyFile: file}, string(text))
	b.rig = again
	expect(t, "after a restart", b.as(), "anna admin password")
	b.rig = start(t, signin.Settings{}, string(text))
	expect(t, "after a restart without a file", b.as(), "")

	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if said := start(t, signin.Settings{KeyFile: file}, everyRole).said.String(); !strings.Contains(said, "others may read the session key") {
		t.Errorf("said: %s", said)
	}
	for _, bad := range []string{"", "short", strings.Repeat("A", 5000), "not base64 \x00"} {
		write(t, file, bad)
		users := filepath.Join(dir, "users")
		write(t, users, everyRole)
		if _, err := signin.New(signin.Settings{File: users, KeyFile: file}, nil); err == nil || !strings.Contains(err.Error(), "session-key-file") {
			t.Errorf("%.10q: %v", bad, err)
		}
	}
}
