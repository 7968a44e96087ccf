package signin

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/millrace-mq/millrace/internal/access"
)

// found is who sends a request, and how that was found out.
type found struct {
	Who
	session *session // nil: none
	strange bool     // there is a cookie that is none of ours
	failure *failure // of a name and password that came with the request
}

// failure is why somebody has not got in.
type failure struct {
	status    int
	what, why string
	wait      time.Duration // before it is worth trying again; 0: not told
}

// Who returns who sends a request. It costs microseconds, but for the first request of
// a script with a password, and may be asked again while a long one goes on: somebody
// who has signed out meanwhile, or lost his role, is told as that.
func (s *Signin) Who(r *http.Request) Who { return s.find(r).Who }

func (s *Signin) find(r *http.Request) found {
	f := found{Who: Who{Remote: s.remote(r).String(), UserAgent: r.UserAgent()}}
	if !s.Configured() {
		if s.fromHere(r) {
			f.Name, f.Role, f.How = "local", Admin, Open
		}
		return f
	}
	if name, role := s.proxied(r); name != "" {
		f.Name, f.Role, f.How = name, role, Proxy
		return f
	}
	if f.session, f.strange = s.sessions.read(r, time.Now()); f.session != nil {
		before := f
		if s.stands(r, &f) {
			return f
		}
		f = before
		f.session = nil
	}
	if s.bearer(r, &f) {
		return f
	}
	if name, password, ok := r.BasicAuth(); ok && forScripts(r) {
		if s.isToken(r, password) {
			var g access.Grant
			if g, f.failure = s.checkToken(r, name, password); f.failure == nil {
				f.named(g, Token)
			}
			return f
		}
		u, failure := s.check(r, name, password)
		if f.failure = failure; failure == nil {
			f.Name, f.Role, f.How = name, u.role, Password
		}
		return f
	}
	s.certified(r, &f)
	return f
}

// stands returns whom a session is of, as the users' file has him now; false if it has
// him no more.
func (p *people) stands(s *session) (name string, role Role, ok bool) {
	switch s.How {
	case Password:
		u, there := p.users[s.Name]
		return s.Name, u.role, there && u.print == s.Print
	case OIDC:
		if p.oidc == nil || p.oidc.print() != s.Print {
			return "", Nobody, false
		}
		role := highest(p.oidc.roles, s.Groups, p.oidc.role)
		return s.Name, role, role != Nobody
	}
	return "", Nobody, false
}

// fromHere reports whether a request is from this machine, and from nobody behind a
// proxy on it.
func (s *Signin) fromHere(r *http.Request) bool {
	for _, header := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip"} {
		if len(r.Header.Values(header)) > 0 {
			s.log.Warn("a request came through a proxy and is refused: no user is configured (--users-file or --trusted-proxy)", "client", r.RemoteAddr)
			return false
		}
	}
	return peer(r).IsLoopback()
}

// free are the paths for those who are not signed in. Pages tell themselves by /events that
// somebody has been signed out.
var free = []string{"/sign-in", "/sign-out", "/oidc/begin", "/oidc/callback", "/theme", "/events", "/ping", "/favicon.ico", "/robots.txt"}

const (
	static       = "/static/"
	callbackPath = "oidc/callback"
)

// Wrap finds out who sends each request, for FromContext. Those who have no role get no
// further than what is needed to sign in: pages are redirected there, all else is
// refused. It keeps the session's cookie fresh. Paths are such as lie below Base.
func (s *Signin) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, static) { // may be kept by caches, which must not keep cookies
			next.ServeHTTP(w, r)
			return
		}
		f := s.find(r)
		s.keepFresh(w, r, f)
		switch {
		case f.failure != nil:
			s.refuse(w, r, f.failure)
		case f.Role == Nobody && !slices.Contains(free, r.URL.Path):
			s.stop(w, r, f.Who)
		default:
			next.ServeHTTP(w, r.WithContext(NewContext(r.Context(), f.Who)))
		}
	})
}

// keepFresh sends the session's cookie again when it is due. One that is none of ours
// is not removed: that answer could come behind that of a sign-in.
func (s *Signin) keepFresh(w http.ResponseWriter, r *http.Request, f found) {
	now := time.Now()
	switch {
	case f.session != nil && s.sessions.stale(f.session, now):
		f.session.Seen = now.Unix()
		s.setSession(w, r, f.session)
	case f.strange:
		s.log.Warn("a session's cookie was tampered with, or is of another key: it is ignored", "client", f.Remote)
	}
}

// setSession has the browser keep a session; nil removes the one that it has.
func (s *Signin) setSession(w http.ResponseWriter, r *http.Request, to *session) (done bool) {
	c, err := s.sessions.cookie(to, s.Base, s.secure(r), time.Now())
	if err != nil {
		s.log.Warn("a session's cookie cannot be made", "error", err)
		return false
	}
	http.SetCookie(w, c)
	return true
}

// stop refuses somebody who has no role.
func (s *Signin) stop(w http.ResponseWriter, r *http.Request, who Who) {
	ways := s.Ways()
	switch {
	case who.Name != "":
		s.refuse(w, r, &failure{status: http.StatusForbidden, what: "No role", why: who.Name + " is known, but has no role here: ask whoever runs this for one."})
	case !s.Configured():
		s.refuse(w, r, &failure{status: http.StatusForbidden, what: "From this machine only",
			why: "No user is configured, so only requests from this machine are answered, and none that came through a proxy: give --users-file or --trusted-proxy."})
	case !ways.Password && ways.OIDC == "":
		s.refuse(w, r, &failure{status: http.StatusUnauthorized, what: "Not signed in", why: "Come through the proxy that signs people in."})
	case (r.Method == http.MethodGet || r.Method == http.MethodHead) && !forScripts(r):
		to := "sign-in"
		if back := r.URL.RequestURI(); local(back) {
			to += "?" + url.Values{"back": {back}}.Encode()
		}
		w.Header().Set("Cache-Control", "no-store")
		http.Redirect(w, r, s.inside(to), http.StatusSeeOther)
	default:
		s.refuse(w, r, &failure{status: http.StatusUnauthorized, what: "Not signed in", why: "Sign in, and try again."})
	}
}

func (s *Signin) refuse(w http.ResponseWriter, r *http.Request, f *failure) {
	if f.wait > 0 {
		w.Header().Set("Retry-After", seconds(f.wait))
	}
	// A browser would ask for a password itself, in place of the page that asks here.
	if f.status == http.StatusUnauthorized && forScripts(r) && r.Header.Get("Sec-Fetch-Mode") == "" {
		w.Header().Set("WWW-Authenticate", `Basic realm="Millrace", charset="UTF-8"`)
	}
	s.Refuse.Answer(w, r, f.status, f.what, f.why)
}
