package signin

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

const (
	flowCookie = "millrace_oidc"
	flowTime   = 10 * time.Minute // to sign in at the provider
	askTimeout = 10 * time.Second // for an answer of the provider
	askBytes   = 1 << 20          // of an answer

	maxFailText  = 200  // bytes of what the provider says in a URL
	maxErrorText = 1000 // bytes of an error
)

// flow is what we want to know when somebody comes back from the provider, in a cookie
// that nobody else can read or make.
type flow struct {
	State    string `json:"s"`
	Nonce    string `json:"n"`
	Verifier string `json:"v"`
	Back     string `json:"b"`
	Begun    int64  `json:"t"`
}

// oidcClient asks the provider. What it says of itself is asked for when somebody signs
// in for the first time, and again whenever that failed: a provider that is away when we
// start is no reason not to.
type oidcClient struct {
	http *http.Client

	mu    sync.Mutex // guards what follows
	of    string     // the issuer that provider is of
	known *oidc.Provider
}

func newOIDCClient(transport http.RoundTripper) *oidcClient {
	if transport == nil {
		transport = http.DefaultTransport
	}
	return &oidcClient{http: &http.Client{Transport: bounded{transport}, Timeout: askTimeout}}
}

// bounded is a transport whose answers have a bound.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, askBytes), resp.Body}
	}
	return resp, err
}

// ask returns a context with which go-oidc and oauth2 use our client.
func (c *oidcClient) ask(ctx context.Context) context.Context { return oidc.ClientContext(ctx, c.http) }

// provider returns what an issuer says of itself.
func (c *oidcClient) provider(ctx context.Context, issuer string) (*oidc.Provider, error) {
	c.mu.Lock()
	known, of := c.known, c.of
	c.mu.Unlock()
	if of == issuer {
		return known, nil
	}
	// Several may ask at once, until the first has its answer: that is as well.
	found, err := oidc.NewProvider(c.ask(ctx), issuer)
	if err != nil {
		return nil, fmt.Errorf("asking the OpenID provider %s about itself: %w", issuer, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known, c.of = found, issuer
	return found, nil
}

func (p *provider) config(of *oidc.Provider) *oauth2.Config {
	return &oauth2.Config{
		ClientID: p.clientID, ClientSecret: p.clientSecret, Endpoint: of.Endpoint(), RedirectURL: p.callback, Scopes: p.scopes,
	}
}

// BeginOIDC answers GET /oidc/begin?back=: it sends the browser to the provider. It is
// a link and not a form, because a page's Content-Security-Policy has browsers follow no
// redirect of a form to another host.
func (s *Signin) BeginOIDC(w http.ResponseWriter, r *http.Request) {
	p, ok := s.provider(w, r)
	if !ok {
		return
	}
	of, err := s.oidc.provider(r.Context(), p.issuer)
	if err != nil {
		s.unreachable(w, r, p, err)
		return
	}
	f := flow{State: randomText(), Nonce: randomText(), Verifier: oauth2.GenerateVerifier(), Begun: time.Now().Unix()}
	if back := r.FormValue("back"); local(back) && len(back) <= 1<<10 { // a cookie has no room for more
		f.Back = back
	}
	value, err := s.sessions.flows.Encode(flowCookie, f)
	if err != nil && f.Back != "" {
		f.Back = "" // of many bytes that take six each
		value, err = s.sessions.flows.Encode(flowCookie, f)
	}
	if err != nil {
		s.unreachable(w, r, p, err)
		return
	}
	http.SetCookie(w, s.flowCookie(r, p, value))
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, p.config(of).AuthCodeURL(f.State, oidc.Nonce(f.Nonce), oauth2.S256ChallengeOption(f.Verifier)), http.StatusSeeOther)
}

// provider returns the one that is configured, or answers that there is none.
func (s *Signin) provider(w http.ResponseWriter, r *http.Request) (*provider, bool) {
	if !s.may(w, r, http.MethodGet) {
		return nil, false
	}
	p := s.people().oidc
	if p == nil {
		s.refuse(w, r, &failure{status: http.StatusNotFound, what: "No provider", why: "No OpenID provider is configured here."})
	}
	return p, p != nil
}

func (s *Signin) flowCookie(r *http.Request, p *provider, value string) *http.Cookie {
	u, _ := url.Parse(p.callback) // checked when it was read
	// #nosec G124 -- HttpOnly and SameSite are set, and Secure where the browser came by TLS
	c := &http.Cookie{
		Name: flowCookie, Value: value, Path: s.Base + "oidc/", HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: s.secure(r) || u.Scheme == "https", MaxAge: int(flowTime / time.Second),
	}
	if value == "" {
		c.MaxAge = -1
	}
	return c
}

// EndOIDC answers GET /oidc/callback, to which the provider sends the browser back.
func (s *Signin) EndOIDC(w http.ResponseWriter, r *http.Request) {
	p, ok := s.provider(w, r)
	if !ok {
		return
	}
	http.SetCookie(w, s.flowCookie(r, p, "")) // it is good for one time
	f, ok := s.flow(r)
	if !ok {
		s.refuse(w, r, &failure{status: http.StatusBadRequest, what: "Not signed in",
			why: "This sign-in was not begun in this browser at this address, or it took more than ten minutes. Begin again, at " + p.home() + "."})
		return
	}
	// Each is a line of the audit log, and anybody can begin and come back with an error.
	if wait := s.slow.waitAt(s.place(r), time.Now()); wait > 0 {
		s.refuse(w, r, s.tooMany(s.place(r), wait))
		return
	}
	q := r.URL.Query()
	if code := q.Get("error"); code != "" {
		s.notLetIn(w, r, fmt.Errorf("the provider says %q (%q)", short(code), short(q.Get("error_description"))))
		return
	}
	if iss := q.Get("iss"); iss != "" && iss != p.issuer {
		s.notLetIn(w, r, fmt.Errorf("the answer is from %q, not from %s", short(iss), p.issuer))
		return
	}
	ctx, cancel := context.WithTimeout(s.oidc.ask(r.Context()), 2*askTimeout)
	defer cancel()
	token, err := s.redeem(ctx, p, f, q.Get("code"))
	if _, away := errors.AsType[*url.Error](err); away {
		s.unreachable(w, r, p, err)
		return
	}
	var who identity
	if err == nil {
		who, err = p.identify(token)
	}
	if err != nil {
		s.notLetIn(w, r, err)
		return
	}
	begun := session{Name: who.name, How: OIDC, Print: p.print(), Groups: who.groups}
	_, role, ok := (&people{oidc: p}).stands(&begun)
	if !ok {
		s.slow.failedAt(s.place(r), time.Now())
		s.tell(r, Who{Name: who.name, How: OIDC}, SignedIn, "no role")
		s.refuse(w, r, &failure{status: http.StatusForbidden, what: "No role",
			why: who.name + " is known to " + p.title + ", but has no role here: ask whoever runs this for one."})
		return
	}
	s.enter(w, r, begun, role, f.Back)
}

// flow returns what was kept of the beginning, if it is that of this request.
func (s *Signin) flow(r *http.Request) (f flow, ok bool) {
	cookies := r.CookiesNamed(flowCookie)
	for _, c := range cookies[:min(len(cookies), maxCookies)] {
		state := []byte(r.URL.Query().Get("state"))
		if s.sessions.flows.Decode(flowCookie, c.Value, &f) == nil && f.State != "" &&
			subtle.ConstantTimeCompare([]byte(f.State), state) == 1 && time.Since(time.Unix(f.Begun, 0)) < flowTime {
			return f, true
		}
	}
	return flow{}, false
}

// redeem exchanges the code for a token that says who somebody is, and believes it only
// if it is the provider's, for us, of this sign-in, and of now.
func (s *Signin) redeem(ctx context.Context, p *provider, f flow, code string) (*oidc.IDToken, error) {
	of, err := s.oidc.provider(ctx, p.issuer)
	if err != nil {
		return nil, err
	}
	answer, err := p.config(of).Exchange(ctx, code, oauth2.VerifierOption(f.Verifier))
	if err != nil {
		return nil, fmt.Errorf("exchanging the code: %w", err)
	}
	raw, ok := answer.Extra("id_token").(string)
	if !ok {
		return nil, errors.New("the provider's answer has no ID token")
	}
	token, err := of.Verifier(&oidc.Config{ClientID: p.clientID}).Verify(ctx, raw)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare([]byte(token.Nonce), []byte(f.Nonce)) != 1 {
		return nil, errors.New("the ID token is of another sign-in: its nonce is wrong")
	}
	if token.AccessTokenHash != "" {
		if err := token.VerifyAccessToken(answer.AccessToken); err != nil {
			return nil, err
		}
	}
	return token, nil
}

// notLetIn tells the log why, and the browser that.
func (s *Signin) notLetIn(w http.ResponseWriter, r *http.Request, err error) {
	s.slow.failedAt(s.place(r), time.Now())
	s.log.Warn("a sign-in by the OpenID provider was refused", "error", long(err), "client", s.remote(r))
	s.tell(r, Who{How: OIDC}, SignedIn, "refused by or because of the provider's answer")
	s.refuse(w, r, &failure{status: http.StatusForbidden, what: "Not signed in",
		why: "The provider did not say who you are, or what it said was not right. The reason is in the admin's log."})
}

func (s *Signin) unreachable(w http.ResponseWriter, r *http.Request, p *provider, err error) {
	s.log.Warn("the OpenID provider cannot be asked", "server", p.issuer, "error", long(err))
	s.refuse(w, r, &failure{status: http.StatusBadGateway, what: "The provider does not answer",
		why: p.title + " cannot be reached. Try again in a minute; the reason is in the admin's log.", wait: time.Minute})
}

// short is the beginning of what somebody else says.
func short(text string) string { return text[:min(len(text), maxFailText)] }

// long is an error as a log line has room for it: some have the whole answer in them.
func long(err error) string {
	text := err.Error()
	return text[:min(len(text), maxErrorText)]
}
