package signin_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/admin/signin"
)

// provider plays an OpenID provider.
type provider struct {
	*httptest.Server
	key *rsa.PrivateKey

	mu     sync.Mutex
	away   bool
	codes  map[string]url.Values // what the browser came with, by the code that it was given
	claims map[string]any        // beyond, or in place of, the right ones; nil removes one
	sign   func(head, claims map[string]any) string
}

var b64 = base64.RawURLEncoding.EncodeToString

var providerKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func newProvider(t *testing.T) *provider {
	t.Helper()
	key, err := providerKey()
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{key: key, codes: make(map[string]url.Values)}
	p.sign = func(head, claims map[string]any) string { return signed(p.key, head, claims) }
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{
			"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
			"id_token_signing_alg_values_supported": []string{"RS256"},
		})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{map[string]any{
			"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "1", "n": b64(p.key.N.Bytes()), "e": b64(big.NewInt(int64(p.key.E)).Bytes()),
		}}})
	})
	mux.HandleFunc("POST /token", p.token)
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		away := p.away
		p.mu.Unlock()
		if away {
			panic(http.ErrAbortHandler)
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

// token exchanges a code, once, for who knows what its challenge was made of.
func (p *provider) token(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	asked, ok := p.codes[r.FormValue("code")]
	delete(p.codes, r.FormValue("code"))
	challenge := sha256.Sum256([]byte(r.FormValue("code_verifier")))
	id, secret, _ := r.BasicAuth()
	if !ok || asked.Get("code_challenge") != b64(challenge[:]) || asked.Get("code_challenge_method") != "S256" ||
		id != "millrace" || secret != "s3cret" || r.FormValue("redirect_uri") != asked.Get("redirect_uri") {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":"invalid_grant"}`))
		return
	}
	claims := map[string]any{
		"iss": p.URL, "aud": "millrace", "sub": "4711", "nonce": asked.Get("nonce"), "preferred_username": "olga",
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(), "groups": []string{"staff", "ops"},
	}
	maps.Copy(claims, p.claims)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"access_token": "access", "token_type": "Bearer", "id_token": p.sign(map[string]any{"alg": "RS256", "kid": "1"}, claims),
	})
}

func unsigned(head, claims map[string]any) string {
	h, _ := json.Marshal(head)
	c, _ := json.Marshal(claims)
	return b64(h) + "." + b64(c)
}

func signed(key *rsa.PrivateKey, head, claims map[string]any) string {
	text := unsigned(head, claims)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		panic(err)
	}
	return text + "." + b64(signature)
}

func (p *provider) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

// sendBack is where the provider sends a browser that has come to place, once somebody
// has signed in.
func (p *provider) sendBack(t *testing.T, place string) url.Values {
	t.Helper()
	u, err := url.Parse(place)
	if err != nil || !strings.HasPrefix(place, p.URL+"/authorize?") {
		t.Fatalf("the browser is sent to %s", place)
	}
	code := rand.Text()
	p.set(func() { p.codes[code] = u.Query() })
	return url.Values{"code": {code}, "state": {u.Query().Get("state")}}
}

const oidcFile = `
[oidc]
issuer = "ISSUER"
client_id = "millrace"
client_secret = "s3cret"
url = "https://queues.example/x/"
role_claim = "groups"
[oidc.roles]
ops = "operator"
chiefs = "admin"
`

// oidcRig is a Signin with that provider.
func oidcRig(t *testing.T, p *provider, file string) *rig {
	t.Helper()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(transport.CloseIdleConnections)
	return start(t, signin.Settings{Base: "/x/", Transport: transport}, strings.ReplaceAll(file, "ISSUER", p.URL))
}

// visit goes to the provider and comes back.
func (b *browser) visit(p *provider, back string) answer {
	b.t.Helper()
	a := b.get("/oidc/begin?back=" + url.QueryEscape(back))
	if a.StatusCode != http.StatusSeeOther {
		b.t.Fatalf("the beginning: %d %s", a.StatusCode, a.text)
	}
	return b.get("/oidc/callback?" + p.sendBack(b.t, a.Header.Get("Location")).Encode())
}
