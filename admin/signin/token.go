package signin

import (
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/millrace-mq/millrace/internal/access"
)

// This file is those whom an access file names: by a token, which a script sends as
// Bearer or as the password of its name, and people type in place of a password; or by a
// certificate. What they may at the daemons, on all topics, is what they may here.

// Ways of Who.How for them.
const (
	Token       = "token"
	Certificate = "certificate"
)

// roleOfRights is the role that rights on all topics amount to. None is an admin by a
// token: that a users' file gives.
func roleOfRights(r access.Rights) Role {
	switch {
	case r.Has(access.Manage):
		return Operator
	case r.Has(access.Look), r.Has(access.Stats):
		return Viewer
	}
	return Nobody
}

// grant is what an access file knows of who sends a request and shows a secret, which may
// be empty.
func (s *Signin) grant(r *http.Request, secret string) access.Grant {
	who := access.Of(net.JoinHostPort(s.remote(r).String(), "0"), r.TLS)
	who.Secret = secret
	return s.Access.Grant(who)
}

// named makes somebody of a grant.
func (f *found) named(g access.Grant, how string) {
	rights := g.Everywhere()
	f.Name, f.How = g.Name, how
	f.Role, f.Looks = roleOfRights(rights), rights.Has(access.Look)
}

// bearer finds out who shows a token with a request; false if none is shown.
func (s *Signin) bearer(r *http.Request, f *found) bool {
	const kind = "Bearer "
	header := r.Header.Get("Authorization")
	if s.Access == nil || len(header) < len(kind) || !strings.EqualFold(header[:len(kind)], kind) {
		return false
	}
	g, failed := s.checkToken(r, "", strings.TrimSpace(header[len(kind):]))
	if f.failure = failed; failed == nil {
		f.named(g, Token)
	}
	return true
}

// checkToken returns the grant of a token, which must be that of name unless name is empty.
// Who tries tokens has to wait, as with passwords; but a right one never waits for what
// others at its address do. A token cannot be found by trying, so that tells nobody
// anything, while behind a proxy or NAT anybody could lock everybody out.
func (s *Signin) checkToken(r *http.Request, name, secret string) (access.Grant, *failure) {
	g := s.grant(r, secret)
	if g.Secret == access.KnownSecret && (name == "" || name == g.Name) {
		return g, nil
	}
	address := s.place(r)
	if wait := s.slow.waitAt(address, time.Now()); wait > 0 {
		return access.Grant{}, s.tooMany(address, wait)
	}
	s.slow.failedAt(address, time.Now())
	s.log.Warn("somebody could not sign in: the token is not known, or has expired", "client", address)
	why := "The token is not known here."
	if g.Secret == access.ExpiredSecret {
		why = "The token has expired: ask whoever runs this for another one."
	}
	return g, &failure{status: http.StatusUnauthorized, what: "Not signed in", why: why}
}

// isToken reports whether a password is a token that the access file has, or had until it
// expired.
func (s *Signin) isToken(r *http.Request, password string) bool {
	if s.Access == nil || password == "" {
		return false
	}
	g := s.grant(r, password)
	return g.Secret == access.KnownSecret || g.Secret == access.ExpiredSecret
}

// signInByToken answers a form whose password is a token.
func (s *Signin) signInByToken(w http.ResponseWriter, r *http.Request, name, token string) {
	g, failed := s.checkToken(r, name, token)
	if failed != nil {
		s.tell(r, Who{Name: g.Name, How: Token}, SignedIn, failed.why)
		s.refuse(w, r, failed)
		return
	}
	s.enter(w, r, session{Name: g.Name, How: Token, Token: token}, roleOfRights(g.Everywhere()), r.PostForm.Get("back"))
}

// stands returns whom a session is of, as files have him now; false if they have him no
// more.
func (s *Signin) stands(r *http.Request, f *found) bool {
	if f.session.How != Token {
		name, role, ok := s.people().stands(f.session)
		f.Name, f.Role, f.How = name, role, f.session.How
		return ok
	}
	if s.Access == nil {
		return false
	}
	g := s.grant(r, f.session.Token)
	if g.Secret != access.KnownSecret || g.Name != f.session.Name {
		return false
	}
	f.named(g, Token)
	return true
}

// certified finds out who shows a certificate that the access file names. That of a
// trusted proxy is its own, and says nothing of those who come through it.
func (s *Signin) certified(r *http.Request, f *found) {
	if s.Access == nil || r.TLS == nil || s.trusted(peer(r)) {
		return
	}
	if g := s.grant(r, ""); g.Name != "" {
		f.named(g, Certificate)
	}
}
