package signin_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/crypto/bcrypt"

	"github.com/millrace-mq/millrace/admin/signin"
	"github.com/millrace-mq/millrace/internal/logtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// quick is a hash that costs next to nothing.
func quick(password string) string {
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		panic(err)
	}
	return string(hash)
}

// usersFile is the text of a users' file: name, password and role of each.
func usersFile(users ...string) string {
	var b strings.Builder
	for i := 0; i < len(users); i += 3 {
		fmt.Fprintf(&b, "[[users]]\nname = %q\npassword = %q\nrole = %q\n\n", users[i], quick(users[i+1]), users[i+2])
	}
	return b.String()
}

var everyRole = usersFile("vera", "of vera", "viewer", "otto", "of otto", "operator", "anna", "of anna", "admin")

// rig is a Signin in front of pages that show who asks.
type rig struct {
	*signin.Signin
	t       *testing.T
	handler http.Handler
	said    *logtest.Lines
	file    string
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// start makes one of settings, and of a users' file with this text, if there is any.
func start(t *testing.T, s signin.Settings, text string) *rig {
	t.Helper()
	r := &rig{t: t, said: new(logtest.Lines)}
	if text != "" {
		r.file = filepath.Join(t.TempDir(), "users.toml")
		write(t, r.file, text)
		s.File = r.file
	}
	made, err := signin.New(s, slog.New(slog.NewTextHandler(r.said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	r.Signin = made
	mux := http.NewServeMux()
	mux.HandleFunc("/sign-in", r.SignIn)
	mux.HandleFunc("/sign-out", r.SignOut)
	mux.HandleFunc("/oidc/begin", r.BeginOIDC)
	mux.HandleFunc("/oidc/callback", r.EndOIDC)
	mux.HandleFunc("/", func(w http.ResponseWriter, req *http.Request) {
		_ = json.NewEncoder(w).Encode(signin.FromContext(req.Context()))
	})
	r.handler = r.Wrap(mux)
	return r
}

// answer is what a browser gets.
type answer struct {
	*http.Response
	text string
	who  signin.Who // if it is a page
}

// browser keeps cookies, as one does that believes what it is told.
type browser struct {
	*rig
	from    string
	header  http.Header
	tls     bool
	cookies map[string]*http.Cookie
}

func (r *rig) browser() *browser {
	return &browser{rig: r, from: "192.0.2.7:1234", header: http.Header{"User-Agent": {"test"}}, cookies: make(map[string]*http.Cookie)}
}

func (b *browser) send(method, target string, form url.Values) answer {
	b.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	scheme := "http"
	if b.tls {
		scheme = "https"
	}
	req := httptest.NewRequest(method, scheme+"://here.example"+target, body)
	req.RemoteAddr = b.from
	for name, values := range b.header {
		req.Header[name] = values
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, c := range b.cookies {
		if strings.HasPrefix(strings.TrimSuffix(b.Base, "/")+req.URL.Path, c.Path) {
			req.AddCookie(c)
		}
	}
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, req)
	a := answer{Response: w.Result(), text: w.Body.String()}
	for _, c := range a.Cookies() {
		if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || !strings.HasPrefix(c.Path, b.Base) {
			b.t.Errorf("cookie %s: HttpOnly %v, SameSite %v, Path %s", c.Name, c.HttpOnly, c.SameSite, c.Path)
		}
		if b.cookies[c.Name] = c; c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		}
	}
	_ = json.Unmarshal(w.Body.Bytes(), &a.who)
	return a
}

func (b *browser) get(target string) answer {
	b.t.Helper()
	return b.send("GET", target, nil)
}

// as is who a page is shown to; empty if it is not.
func (b *browser) as() string {
	b.t.Helper()
	if a := b.get("/topics"); a.StatusCode == http.StatusOK {
		return a.who.Name + " " + a.who.Role.String() + " " + a.who.How
	}
	return ""
}

func (b *browser) signIn(name, password string) answer {
	b.t.Helper()
	return b.send("POST", "/sign-in", url.Values{"name": {name}, "password": {password}})
}

// in signs in, and fails the test if that does.
func (b *browser) in(name string) *browser {
	b.t.Helper()
	if a := b.signIn(name, "of "+name); a.StatusCode != http.StatusSeeOther {
		b.t.Fatalf("%s is not let in: %d %q", name, a.StatusCode, a.text)
	}
	return b
}

func expect(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}
