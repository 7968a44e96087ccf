package browser

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// provider plays an OpenID provider, with a page at which people say who they are.
type provider struct {
	*httptest.Server
	key *rsa.PrivateKey

	mu    sync.Mutex            // guards what follows
	codes map[string]url.Values // what the browser came with and who he said he is, by the code that it was given
}

var base64url = base64.RawURLEncoding.EncodeToString

// groups are those of whoever is known here.
var groups = map[string][]string{"olga": {"staff", "queue-operators"}, "paul": {"staff"}}

func newProvider(t *testing.T) *provider {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{key: key, codes: make(map[string]url.Values)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{
			"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
			"id_token_signing_alg_values_supported": []string{"RS256"},
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{map[string]any{
			"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "1", "n": base64url(key.N.Bytes()), "e": base64url(big.NewInt(int64(key.E)).Bytes()),
		}}})
	})
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("GET /continue", p.proceed)
	mux.HandleFunc("POST /token", p.token)
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

// authorize is the provider's page.
func (p *provider) authorize(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprint(w, `<!doctype html><html><head><title>p</title><link rel="icon" href="data:,"></head><body><main>`)
	for _, name := range []string{"olga", "paul", "refuse"} {
		q := r.URL.Query()
		q.Set("as", name)
		fmt.Fprintf(w, `<p><a href="/continue?%s">%s</a></p>`, html.EscapeString(q.Encode()), name)
	}
	fmt.Fprint(w, `</main></body></html>`)
}

// proceed sends the browser back with a code.
func (p *provider) proceed(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	back := url.Values{"state": {q.Get("state")}}
	if q.Get("as") == "refuse" {
		back.Set("error", "access_denied")
	} else {
		code := rand.Text()
		p.mu.Lock()
		p.codes[code] = q
		p.mu.Unlock()
		back.Set("code", code)
	}
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
}

// token exchanges a code, once, for who knows what its challenge was made of.
func (p *provider) token(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	asked, ok := p.codes[r.FormValue("code")]
	delete(p.codes, r.FormValue("code"))
	p.mu.Unlock()
	challenge := sha256.Sum256([]byte(r.FormValue("code_verifier")))
	id, secret, _ := r.BasicAuth()
	w.Header().Set("Content-Type", "application/json")
	if !ok || asked.Get("code_challenge") != base64url(challenge[:]) || id != "millrace" || secret != "s3cret" || r.FormValue("redirect_uri") != asked.Get("redirect_uri") {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error":"invalid_grant"}`)
		return
	}
	name := asked.Get("as")
	_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "a", "token_type": "Bearer", "id_token": p.sign(map[string]any{
		"iss": p.URL, "aud": "millrace", "sub": "id-of-" + name, "nonce": asked.Get("nonce"), "preferred_username": name,
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(), "groups": groups[name],
	})})
}

func (p *provider) sign(claims map[string]any) string {
	body, _ := json.Marshal(claims) // of texts and numbers
	text := base64url([]byte(`{"alg":"RS256","kid":"1"}`)) + "." + base64url(body)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, p.key, crypto.SHA256, sum[:])
	if err != nil {
		panic(err)
	}
	return text + "." + base64url(signature)
}

// TestOIDC signs in by a provider, as a browser does it: from our page to the provider's
// and back.
func TestOIDC(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	file := filepath.Join(t.TempDir(), "users.toml")
	text := "[oidc]\nissuer = '" + p.URL + "'\nclient_id = 'millrace'\nclient_secret = 's3cret'\nurl = 'http://127.0.0.1:1'\ntitle = 'Example'\n" +
		"role_claim = 'groups'\n[oidc.roles]\nqueue-operators = 'operator'\n"
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(text)
	h := newHouse(t, 1, "--users-file="+file)
	h.publish(0, "orders", 1)
	write(strings.ReplaceAll(text, "http://127.0.0.1:1'", h.base+"'")) // its port is known now
	b := open(t, h.base)
	wait(t, "the new address being read", func() bool {
		return !strings.Contains(newScript(t, h.base).get("/oidc/begin").Get("Location"), "127.0.0.1%3A1%2F")
	})

	b.visit("/topics?q=ord")
	b.at("/sign-in?back=")
	b.link("Sign in with Example")
	want(t, "the provider's page", strings.Contains(b.href(), p.URL+"/authorize?"), true)
	b.link("olga")
	b.at("/topics?q=ord")
	b.until("being signed in", `/olga\s+operator/.test(document.querySelector(".side .who").innerText)`)
	b.reach("/topics/orders")
	b.link("Pause topic")
	b.button("Pause topic")
	o := b.done(1)
	want(t, "daemons on which it is paused", h.topic("orders").Paused, 1)
	want(t, "who", h.topic("orders").Pause.By, "olga")
	b.visit(fmt.Sprint("/audit/", o.Number))
	b.shows("olga, operator, by oidc")

	// A second time with what the first one had is refused, and so is what nobody began.
	again := b.script()
	if r := again.get("/oidc/callback?code=x&state=y"); r.Status != http.StatusBadRequest || !strings.Contains(r.Body, "was not begun in this browser") {
		t.Errorf("a callback that nobody began: %+v", r)
	}

	b.follow(".side .who button", "Sign out")
	b.link("Sign in with Example")
	b.link("paul") // who has no role
	b.shows("paul is known to Example, but has no role here")
	b.expect("403 (Forbidden)")
	b.visit("/sign-in")
	b.link("Sign in with Example")
	b.link("refuse")
	b.shows("Not signed in")
	b.expect("403 (Forbidden)")

	p.CloseClientConnections()
	p.Close()
	b.do(chromedp.Navigate(h.base + "/sign-in"))
	h.admin.end(syscall.SIGTERM) // what it knew of the provider is forgotten
	h.admin.start()
	b.visit("/sign-in")
	b.link("Sign in with Example")
	b.shows("Example cannot be reached.")
	b.expect("502 (Bad Gateway)")
	b.expect("net::ERR_")
}
