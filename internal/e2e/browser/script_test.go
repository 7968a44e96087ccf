package browser

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// script asks the admin as programs do, or as somebody who forges requests. It follows
// no redirect.
type script struct {
	t      *testing.T
	base   string
	header http.Header // of each request
	client *http.Client
}

func newScript(t *testing.T, base string) *script {
	return &script{t, base, make(http.Header), &http.Client{
		Timeout:       patience,
		Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// reply is what came back.
type reply struct {
	Status int
	http.Header
	Body string
}

// send sends a request. A body of url.Values is a form; of a string, JSON.
func (s *script) send(method, path string, body any) reply {
	s.t.Helper()
	var in io.Reader
	kind := ""
	switch b := body.(type) {
	case url.Values:
		in, kind = strings.NewReader(b.Encode()), "application/x-www-form-urlencoded"
	case string:
		in, kind = strings.NewReader(b), "application/json"
	}
	r, err := http.NewRequest(method, s.base+path, in)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header = s.header.Clone()
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	answer, err := s.client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	return reply{answer.StatusCode, answer.Header, string(text)}
}

func (s *script) get(path string) reply { s.t.Helper(); return s.send(http.MethodGet, path, nil) }

// act asks the API for an action.
func (s *script) act(action string, target, args map[string]string) reply {
	s.t.Helper()
	body, err := json.Marshal(map[string]any{"action": action, "targets": []any{target}, "args": args})
	if err != nil {
		s.t.Fatal(err)
	}
	return s.send(http.MethodPost, "/api/actions", string(body))
}

// signIn sends the form of the sign-in page, and keeps the cookie.
func (s *script) signIn(name, password string) reply {
	s.t.Helper()
	r := s.send(http.MethodPost, "/sign-in", url.Values{"name": {name}, "password": {password}, "back": {"/topics"}})
	for _, c := range (&http.Response{Header: r.Header}).Cookies() {
		s.header.Set("Cookie", c.Name+"="+c.Value)
	}
	return r
}

// as is a script that has signed in.
func (h *house) as(t *testing.T, name string) *script {
	t.Helper()
	s := newScript(t, h.base)
	if r := s.signIn(name, password); r.Status != http.StatusSeeOther {
		t.Fatalf("%s cannot sign in: %+v", name, r)
	}
	return s
}

// password is everybody's.
const password = "correct horse <battery> & staple"

// hashed is what stands for it in a users' file, as the program says.
var hashed = sync.OnceValues(func() (string, error) {
	dir, err := programs()
	if err != nil {
		return "", err
	}
	hash := exec.Command(filepath.Join(dir, "admin"), "--hash-password")
	hash.Stdin = strings.NewReader(password + "\n")
	out, err := hash.Output()
	return strings.TrimSpace(string(out)), err
})

// people writes a users' file: vera is a viewer, otto an operator and ada an admin, all
// with the same password. More lines may follow.
func people(t *testing.T, more string) (path string) {
	t.Helper()
	hash, err := hashed()
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for name, role := range map[string]string{"vera": "viewer", "otto": "operator", "ada": "admin"} {
		text.WriteString("[[users]]\nname = '" + name + "'\nrole = '" + role + "'\npassword = '" + hash + "'\n")
	}
	path = filepath.Join(t.TempDir(), "users.toml")
	if err := os.WriteFile(path, []byte(text.String()+more), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
