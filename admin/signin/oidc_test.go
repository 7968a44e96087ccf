package signin_test

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/admin/signin"
)

func TestOIDC(t *testing.T) {
	p := newProvider(t)
	b := oidcRig(t, p, oidcFile).browser()
	b.tls = true
	a := b.get("/oidc/begin?back=/topics%3Fq=x")
	u, _ := url.Parse(a.Header.Get("Location"))
	q := u.Query()
	if q.Get("client_id") != "millrace" || q.Get("redirect_uri") != "https://queues.example/x/oidc/callback" || q.Get("response_type") != "code" ||
		q.Get("scope") != "openid profile email" || len(q.Get("state")) < 22 || len(q.Get("nonce")) < 22 || q.Get("code_challenge") == "" {
		t.Errorf("the provider is asked %v", q)
	}
	flow := b.cookies["millrace_oidc"]
	if flow == nil || !flow.Secure || flow.Path != "/x/oidc/" || flow.MaxAge != 600 || strings.Contains(flow.Value, q.Get("state")) {
		t.Errorf("the cookie is %+v", flow)
	}
	back := p.sendBack(t, u.String())
	a = b.get("/oidc/callback?" + back.Encode())
	if a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != "/x/topics?q=x" || b.cookies["millrace_oidc"] != nil {
		t.Fatalf("%d %v %q", a.StatusCode, a.Header, a.text)
	}
	expect(t, "in", b.as(), "olga operator oidc")
	// It was good for one time, whoever kept the cookie.
	b.cookies["millrace_oidc"] = flow
	if a := b.get("/oidc/callback?" + back.Encode()); a.StatusCode != http.StatusForbidden {
		t.Errorf("the second time: %d", a.StatusCode)
	}
	b.send("POST", "/sign-out", nil)
	expect(t, "out", b.as(), "")
}

// What a token may say of who somebody is, and what that is worth.
func TestClaims(t *testing.T) {
	p := newProvider(t)
	for _, tt := range []struct {
		name, more string
		claims     map[string]any
		want       string // empty: not let in
	}{
		{"the highest role", "", map[string]any{"groups": []string{"ops", "chiefs"}}, "olga admin oidc"},
		{"one text", "", map[string]any{"groups": "chiefs"}, "olga admin oidc"},
		{"no role", "", map[string]any{"groups": []string{"staff"}}, ""},
		{"no claim", "", map[string]any{"groups": nil}, ""},
		{"another type", "", map[string]any{"groups": map[string]any{"chiefs": true}}, ""},
		{"texts and others", "", map[string]any{"groups": []any{1, nil, "ops"}}, "olga operator oidc"},
		{"many", "", map[string]any{"groups": strings.Split(strings.Repeat("x ", 5000)+"chiefs", " ")}, "olga admin oidc"},
		{"a role for all others", "role = 'viewer'", map[string]any{"groups": nil}, "olga viewer oidc"},
		{"within others", "role_claim = 'realm_access.roles'", map[string]any{"realm_access": map[string]any{"roles": []string{"ops"}}}, "olga operator oidc"},
		{"with a dot in its name", "role_claim = 'https://x.y/roles'", map[string]any{"https://x.y/roles": "ops"}, "olga operator oidc"},
		{"not within", "role_claim = 'a.b'", map[string]any{"a": "ops"}, ""},
		{"an address", "", map[string]any{"preferred_username": nil, "email": "o@x.example"}, "o@x.example operator oidc"},
		{"an address of somebody else", "", map[string]any{"preferred_username": nil, "email": "o@x.example", "email_verified": false}, "4711 operator oidc"},
		{"a name that is to be an address", "name_claim = 'email'", map[string]any{"email": "o@x.example", "email_verified": "false"}, ""},
		{"a role by an address of somebody else", "role_claim = 'email'\nroles = {'o@x.example' = 'admin'}", map[string]any{"email": "o@x.example", "email_verified": false}, ""},
		{"a name of signs", "", map[string]any{"preferred_username": "<b>\u202e\n"}, ""},
		{"a long name", "", map[string]any{"preferred_username": strings.Repeat("x", 300)}, ""},
		{"a name of markup", "", map[string]any{"preferred_username": strings.Repeat("<&", 128)}, strings.Repeat("<&", 128) + " operator oidc"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := strings.Replace(oidcFile, "[oidc.roles]", tt.more+"\n[oidc.roles]", 1)
			if strings.Contains(tt.more, "role_claim") {
				file = strings.Replace(file, "role_claim = \"groups\"\n", "", 1)
			}
			if strings.Contains(tt.more, "roles =") {
				file, _, _ = strings.Cut(file, "[oidc.roles]")
			}
			p.set(func() { p.claims = tt.claims })
			b := oidcRig(t, p, file).browser()
			a := b.visit(p, "/")
			expect(t, a.text, b.as(), tt.want)
			if tt.want == "" && a.StatusCode != http.StatusForbidden {
				t.Errorf("%d %q", a.StatusCode, a.text)
			}
		})
	}
}

// Tokens that are not for this sign-in are not believed, and why stands in the log.
func TestTokensThatAreWrong(t *testing.T) {
	p := newProvider(t)
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	right := p.sign
	now := time.Now()
	for _, tt := range []struct {
		name   string
		claims map[string]any
		sign   func(head, claims map[string]any) string
		log    string
	}{
		{"nonce", map[string]any{"nonce": "another"}, nil, "nonce is wrong"},
		{"no nonce", map[string]any{"nonce": nil}, nil, "nonce is wrong"},
		{"audience", map[string]any{"aud": "another"}, nil, "expected audience"},
		{"no audience", map[string]any{"aud": nil}, nil, "expected audience"},
		{"asked for by others", map[string]any{"aud": []string{"another", "millrace"}, "azp": "another"}, nil, "was not asked for by us"},
		{"asked for by nobody", map[string]any{"aud": []string{"another", "millrace"}}, nil, "was not asked for by us"},
		{"expired", map[string]any{"exp": now.Add(-time.Minute).Unix()}, nil, "expired"},
		{"no expiry", map[string]any{"exp": nil}, nil, "expired"},
		{"not yet", map[string]any{"nbf": now.Add(time.Hour).Unix()}, nil, "before the nbf"},
		{"issuer", map[string]any{"iss": "https://evil.example"}, nil, "issued by a different provider"},
		{"hash of another access token", map[string]any{"at_hash": "xxxxxxxxxxxxxxxxxxxxxx"}, nil, "access token hash does not match"},
		{"another key", nil, func(head, claims map[string]any) string { return signed(other, head, claims) }, "signature"},
		{"no signature", nil, func(_, claims map[string]any) string { return unsigned(map[string]any{"alg": "none"}, claims) + "." }, "none"},
		{"signed with the public key", nil, func(_, claims map[string]any) string {
			text := unsigned(map[string]any{"alg": "HS256", "kid": "1"}, claims)
			mac := hmac.New(sha256.New, p.key.N.Bytes())
			mac.Write([]byte(text))
			return text + "." + b64(mac.Sum(nil))
		}, "HS256"},
		{"no token", nil, func(_, _ map[string]any) string { return "" }, "malformed"},
		{"changed", nil, func(head, claims map[string]any) string {
			parts := strings.Split(right(head, claims), ".")
			return unsigned(head, map[string]any{"iss": p.URL, "sub": "root"}) + "." + parts[2]
		}, "signature"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p.set(func() {
				if p.claims, p.sign = tt.claims, tt.sign; p.sign == nil {
					p.sign = right
				}
			})
			r := oidcRig(t, p, oidcFile)
			b := r.browser()
			a := b.visit(p, "/")
			if a.StatusCode != http.StatusForbidden || b.cookies[cookie] != nil || b.as() != "" {
				t.Errorf("%d %q", a.StatusCode, a.text)
			}
			if said := r.said.String(); !strings.Contains(said, tt.log) || strings.Contains(said, "s3cret") {
				t.Errorf("said: %s", said)
			}
			if strings.Contains(a.text, p.URL) {
				t.Errorf("told: %s", a.text)
			}
		})
	}
}

// A browser that has not begun, or comes back with something else than it left with.
func TestComingBack(t *testing.T) {
	p := newProvider(t)
	r := oidcRig(t, p, oidcFile)
	begin := func() (*browser, url.Values) {
		b := r.browser()
		return b, p.sendBack(t, b.get("/oidc/begin").Header.Get("Location"))
	}
	for _, tt := range []struct {
		name   string
		change func(*browser, url.Values)
		status int
	}{
		{"as it should be", func(*browser, url.Values) {}, 303},
		{"from there", func(_ *browser, q url.Values) { q.Set("iss", p.URL) }, 303},
		{"no cookie", func(b *browser, _ url.Values) { clear(b.cookies) }, 400},
		{"another's cookie", func(b *browser, _ url.Values) { other, _ := begin(); b.cookies = other.cookies }, 400},
		{"a changed cookie", func(b *browser, _ url.Values) {
			b.cookies["millrace_oidc"].Value = "A" + b.cookies["millrace_oidc"].Value[1:]
		}, 400},
		{"a session for a cookie", func(b *browser, _ url.Values) {
			other := r.browser()
			other.visit(p, "/")
			b.cookies["millrace_oidc"].Value = other.cookies[cookie].Value
		}, 400},
		{"another state", func(_ *browser, q url.Values) { q.Set("state", "x") }, 400},
		{"no state", func(_ *browser, q url.Values) { q.Del("state") }, 400},
		{"another code", func(_ *browser, q url.Values) { q.Set("code", "x") }, 403},
		{"another's code", func(_ *browser, q url.Values) { _, other := begin(); q.Set("code", other.Get("code")) }, 403},
		{"an error", func(_ *browser, q url.Values) { q.Set("error", "access_denied") }, 403},
		{"from another provider", func(_ *browser, q url.Values) { q.Set("iss", "https://evil.example") }, 403},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, q := begin()
			tt.change(b, q)
			if a := b.get("/oidc/callback?" + q.Encode()); a.StatusCode != tt.status || (b.as() != "") != (tt.status == 303) {
				t.Errorf("%d %q", a.StatusCode, a.text)
			}
		})
	}
	if a := r.browser().send("POST", "/oidc/begin", nil); a.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("a POST: %d", a.StatusCode)
	}
	none := start(t, signin.Settings{}, everyRole).browser()
	for _, path := range []string{"/oidc/begin", "/oidc/callback?state=x&code=y"} {
		if a := none.get(path); a.StatusCode != http.StatusNotFound {
			t.Errorf("%s without a provider: %d", path, a.StatusCode)
		}
	}
	for _, back := range []string{"//evil.example", strings.Repeat("/&", 500), "/" + strings.Repeat("x", 3000)} {
		if a := r.browser().visit(p, back); a.StatusCode != 303 || !strings.HasPrefix(a.Header.Get("Location"), "/x/") {
			t.Errorf("back to %.20q: %d %v", back, a.StatusCode, a.Header)
		}
	}
}

// Whoever comes back again and again without getting in has to wait: he fills the audit
// log.
func TestComingBackTooOften(t *testing.T) {
	p := newProvider(t)
	told := 0
	transport := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(transport.CloseIdleConnections)
	r := start(t, signin.Settings{Base: "/x/", Transport: transport, Signed: func(_ signin.Who, _, refused string) {
		if refused != "" {
			told++
		}
	}}, strings.ReplaceAll(oidcFile, "ISSUER", p.URL))
	const attempts = 100
	waits := 0
	for range attempts {
		b := r.browser()
		u, err := url.Parse(b.get("/oidc/begin").Header.Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		if a := b.get("/oidc/callback?error=x&state=" + u.Query().Get("state")); a.StatusCode == http.StatusTooManyRequests && a.Header.Get("Retry-After") != "" {
			waits++
		}
	}
	if waits == 0 || told+waits != attempts || told > 40 {
		t.Errorf("of %d attempts %d are told of and %d have to wait", attempts, told, waits)
	}
	elsewhere := r.browser()
	elsewhere.from = "198.51.100.1:1"
	if a := elsewhere.visit(p, "/"); a.StatusCode != http.StatusSeeOther {
		t.Errorf("from elsewhere: %d %q", a.StatusCode, a.text)
	}
}

// roundTrip is a provider that knows only where it is.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Who takes more than ten minutes at the provider begins again.
func TestAProviderThatTakesLong(t *testing.T) {
	for minutes, want := range map[time.Duration]int{9: http.StatusForbidden, 10: http.StatusBadRequest} {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, signin.Settings{Base: "/x/", Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
				w := httptest.NewRecorder()
				if strings.HasPrefix(req.URL.Path, "/.well-known/") {
					_, _ = w.WriteString(`{"issuer":"https://id.example","authorization_endpoint":"https://id.example/authorize"}`)
				} else {
					w.WriteHeader(http.StatusBadRequest) // there is no such code
				}
				return w.Result(), nil
			})}, strings.ReplaceAll(oidcFile, "ISSUER", "https://id.example"))
			b := r.browser()
			u, _ := url.Parse(b.get("/oidc/begin").Header.Get("Location"))
			time.Sleep(minutes * time.Minute)
			if a := b.get("/oidc/callback?code=x&state=" + u.Query().Get("state")); a.StatusCode != want {
				t.Errorf("after %d minutes: %d %q", minutes, a.StatusCode, a.text)
			}
		})
	}
}

// A provider that is away is no reason not to start, and is asked again.
func TestAProviderThatIsAway(t *testing.T) {
	p := newProvider(t)
	p.set(func() { p.away = true })
	r := oidcRig(t, p, oidcFile+everyRole)
	for range 3 {
		if a := r.browser().get("/oidc/begin"); a.StatusCode != http.StatusBadGateway || retry(a) == 0 {
			t.Errorf("%d %q", a.StatusCode, a.text)
		}
	}
	r.browser().in("anna")
	p.set(func() { p.away = false })
	b := r.browser()
	b.visit(p, "/")
	expect(t, "in", b.as(), "olga operator oidc")
	// It goes away while somebody is there.
	a := b.get("/oidc/begin")
	q := p.sendBack(t, a.Header.Get("Location"))
	p.set(func() { p.away = true })
	if a := b.get("/oidc/callback?" + q.Encode()); a.StatusCode != http.StatusBadGateway {
		t.Errorf("%d %q", a.StatusCode, a.text)
	}
	expect(t, "still in", b.as(), "olga operator oidc")
}

// What the file says of roles counts now, not when somebody signed in.
func TestChangesOfTheProvidersRoles(t *testing.T) {
	p := newProvider(t)
	r := oidcRig(t, p, oidcFile)
	b := r.browser()
	b.visit(p, "/")
	expect(t, "in", b.as(), "olga operator oidc")
	file := strings.ReplaceAll(oidcFile, "ISSUER", p.URL)
	for _, tt := range []struct{ old, new, want string }{
		{`ops = "operator"`, `ops = "admin"`, "olga admin oidc"},
		{`ops = "operator"`, `x = "admin"`, ""},
		{`role_claim`, "role = \"viewer\"\nrole_claim", "olga operator oidc"},
		{`client_id = "millrace"`, `client_id = "another"`, ""},
		{`[oidc.roles]`, `[oidc.roles]`, "olga operator oidc"},
	} {
		write(t, r.file, strings.Replace(file, tt.old, tt.new, 1))
		expect(t, tt.new, b.as(), tt.want)
	}
	write(t, r.file, everyRole)
	expect(t, "without a provider", b.as(), "")
}
