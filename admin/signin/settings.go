package signin

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/httpapi"
)

// Settings say who may come in, and how.
type Settings struct {
	// Base is the path below which the UI lies, as guard.CleanBase returns it; "/" if empty.
	// The handlers here, as all others, get paths from which it was cut off.
	Base string

	// File has users, and what is said of proxies and an OpenID provider, in TOML; empty:
	// none. It is read again when it changes.
	File string

	// Access names further people by tokens and certificates, who have the role that their
	// rights on all topics amount to; nil: none.
	Access *access.File

	// Proxies are addresses (10.0.0.1) or networks (10.0.0.0/8) from which the header
	// ProxyHeader is believed, and X-Forwarded-For and -Proto with it. Who comes by socket
	// file counts as 127.0.0.1. ProxyHeader is X-Forwarded-User if empty.
	Proxies     []string
	ProxyHeader string
	// Admins and Operators are those whom a proxy names who have that role. What role all
	// others have, viewer or what their groups say, is in File's table [proxy].
	Admins, Operators []string

	// KeyFile keeps sessions valid across restarts. It is made if it is missing; if it is
	// empty, nobody is signed in any more after a restart.
	KeyFile string
	// Idle and Longest are how long a session lasts without a request, and at all. Zero is a
	// day, and a week.
	Idle, Longest time.Duration

	// Refuse shows why somebody gets no further; nil: as plain text.
	Refuse Refuse
	// Signed is told of who has signed in or out, or failed to, and then why. It is called
	// by many goroutines. Nil: nobody wants to know.
	Signed func(who Who, action, refused string)

	// Transport is for questions to the OpenID provider; nil: http.DefaultTransport.
	Transport http.RoundTripper
}

// Actions that Settings.Signed is told of.
const (
	SignedIn  = "sign-in"
	SignedOut = "sign-out"
)

const (
	defaultHeader  = "X-Forwarded-User"
	defaultIdle    = 24 * time.Hour
	defaultLongest = 7 * 24 * time.Hour
)

// Signin knows who somebody is. It is safe for concurrent use, and starts nothing
// that would have to be ended.
type Signin struct {
	Settings
	log      *httpapi.Sparing
	file     *watched // nil: none
	proxies  []netip.Prefix
	sessions *sessions
	slow     *slow
	hashing  *turns
	known    *credentials
	oidc     *oidcClient
}

// New reads the files. The error tells everything that is wrong with them and with the
// settings.
func New(s Settings, log *slog.Logger) (*Signin, error) {
	if s.Base == "" {
		s.Base = "/"
	}
	if s.ProxyHeader == "" {
		s.ProxyHeader = defaultHeader
	}
	if s.Idle == 0 {
		s.Idle = defaultIdle
	}
	if s.Longest == 0 {
		s.Longest = defaultLongest
	}
	out := &Signin{
		Settings: s, log: httpapi.NewSparing(log),
		slow: newSlow(), hashing: newTurns(), known: newCredentials(), oidc: newOIDCClient(s.Transport),
	}
	var errs []error
	for _, text := range s.Proxies {
		p, err := parseNetwork(text)
		if err != nil {
			errs = append(errs, err)
		}
		out.proxies = append(out.proxies, p)
	}
	if len(s.Admins)+len(s.Operators) > 0 && len(s.Proxies) == 0 {
		errs = append(errs, errors.New("admin-user: name with --trusted-proxy who is believed when he says who a user is"))
	}
	var err error
	if s.File != "" {
		out.file, err = watch(s.File, s.Base, len(s.Proxies) > 0, log)
		errs = append(errs, err)
	}
	if out.Configured() {
		out.sessions, err = newSessions(s.KeyFile, s.Idle, s.Longest, log)
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return out, nil
}

func parseNetwork(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, fmt.Errorf("trusted-proxy %q: must be an address such as 10.0.0.1, or a network such as 10.0.0.0/8", text)
	}
	return p.Masked(), nil
}

// Configured reports whether there is any way to sign in. If not, everybody who comes
// from this machine may do everything, and nobody else may come: listen on loopback
// only. It does not change while the process runs: a users' file that has been emptied
// by mistake opens nothing.
func (s *Signin) Configured() bool { return s.File != "" || len(s.Proxies) > 0 || s.Access != nil }

// Ways are what a sign-in page offers.
type Ways struct {
	Password bool   // a form with name, password and back, for POST /sign-in
	OIDC     string // what stands on the link to GET /oidc/begin?back=; empty: none
}

// Ways returns the ways to sign in that there are now.
func (s *Signin) Ways() Ways {
	p := s.people()
	w := Ways{Password: len(p.users) > 0 || s.Access != nil}
	if p.oidc != nil {
		w.OIDC = p.oidc.title
	}
	return w
}

// people is what the users' file says now.
func (s *Signin) people() *people {
	if s.file == nil {
		return nobody
	}
	return s.file.people()
}

var nobody = &people{proxy: proxyRules{role: Viewer}}

// inside is the address of a path of ours, as a browser must be told it.
func (s *Signin) inside(path string) string { return s.Base + strings.TrimPrefix(path, "/") }
