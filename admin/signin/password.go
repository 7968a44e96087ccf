package signin

import (
	"crypto/hmac"
	"crypto/sha256"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const maxForm = 16 << 10 // bytes of a sign-in form

// SignIn answers POST /sign-in, a form with name, password and back, the path to go on
// with. It goes there with 303, or says by Settings.Refuse why not: 401 if name or
// password are wrong, without saying which; 429 if there were too many attempts; 503 if
// too many people sign in at once.
func (s *Signin) SignIn(w http.ResponseWriter, r *http.Request) {
	if !s.may(w, r, http.MethodPost) {
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		s.refuse(w, r, &failure{status: http.StatusBadRequest, what: "The form cannot be read", why: "It must be an HTML form of at most 16 KiB."})
		return
	}
	name := strings.TrimSpace(r.PostForm.Get("name"))
	if token := strings.TrimSpace(r.PostForm.Get("password")); s.isToken(r, token) {
		s.signInByToken(w, r, name, token)
		return
	}
	u, failed := s.check(r, name, r.PostForm.Get("password"))
	if failed != nil {
		s.refuse(w, r, failed)
		return
	}
	s.enter(w, r, session{Name: name, How: Password, Print: u.print}, u.role, r.PostForm.Get("back"))
}

// enter begins a session and goes on to where somebody was.
func (s *Signin) enter(w http.ResponseWriter, r *http.Request, begun session, role Role, back string) {
	now := time.Now()
	if old, _ := s.sessions.read(r, now); old != nil {
		s.sessions.end(old, now) // of whoever sat there before
	}
	begun = s.sessions.begin(begun, now)
	if !s.setSession(w, r, &begun) {
		s.refuse(w, r, &failure{status: http.StatusInternalServerError, what: "Not signed in", why: "A session cannot be made; the reason is in the admin's log."})
		return
	}
	s.tell(r, Who{Name: begun.Name, Role: role, How: begun.How}, SignedIn, "")
	s.goTo(w, r, back)
}

// SignOut answers POST /sign-out: the session is over, here and in the browser.
func (s *Signin) SignOut(w http.ResponseWriter, r *http.Request) {
	if !s.may(w, r, http.MethodPost) {
		return
	}
	f := s.find(r)
	if f.session != nil {
		s.sessions.end(f.session, time.Now())
		s.tell(r, f.Who, SignedOut, "")
	}
	s.setSession(w, r, nil)
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, s.inside("sign-in"), http.StatusSeeOther)
}

// may refuses other methods, and everything where nobody is configured.
func (s *Signin) may(w http.ResponseWriter, r *http.Request, method string) bool {
	switch {
	case r.Method != method:
		w.Header().Set("Allow", method)
		s.refuse(w, r, &failure{status: http.StatusMethodNotAllowed, what: "Not possible", why: "This address takes " + method + " only."})
		return false
	case !s.Configured():
		s.refuse(w, r, &failure{status: http.StatusNotFound, what: "Nobody to sign in", why: "No user is configured: give --users-file."})
		return false
	}
	return true
}

func (s *Signin) tell(r *http.Request, who Who, action, refused string) {
	if s.Signed != nil {
		who.Remote, who.UserAgent = s.remote(r).String(), r.UserAgent()
		s.Signed(who, action, refused)
	}
}

// goTo redirects to a path below ours, or to the first page if it is none.
func (s *Signin) goTo(w http.ResponseWriter, r *http.Request, back string) {
	if !local(back) {
		back = "/"
	}
	w.Header().Set("Cache-Control", "no-store")
	// #nosec G710 -- only to a path below ours: see local
	http.Redirect(w, r, s.inside(back), http.StatusSeeOther)
}

// local reports whether a path that came with a request is one of ours: browsers take
// //host and /\host for other hosts, drop tabs and newlines before they look, and would
// be led out of the base path by /.., escaped or not.
func local(path string) bool {
	strange := func(r rune) bool { return r <= ' ' || r == '\\' || r == 0x7f }
	if len(path) > 4<<10 || !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.ContainsFunc(path, strange) {
		return false
	}
	u, err := url.Parse(path)
	return err == nil && !slices.Contains(strings.Split(u.Path, "/"), "..")
}

// check returns a user if the password is his. It takes as long, and says the same,
// whether there is such a user or not.
func (s *Signin) check(r *http.Request, name, password string) (user, *failure) {
	p := s.people()
	if len(p.users) == 0 {
		return user{}, &failure{status: http.StatusUnauthorized, what: "No passwords here", why: "Nobody has a password here: sign in another way."}
	}
	if len(name) > maxName || len(password) > maxPassword {
		name, password = "", ""
	}
	address := s.place(r)
	// Before anything is compared: whoever has to wait must not learn even that he
	// was right.
	if wait := s.slow.wait(address, name, time.Now()); wait > 0 {
		return user{}, s.tooMany(address, wait)
	}
	u, there := p.users[name]
	if there && s.known.has(name, password, u.print) {
		return u, nil
	}
	if wait := s.slow.begin(address, name, time.Now()); wait > 0 {
		return user{}, s.tooMany(address, wait)
	}
	if !there {
		u.hash = p.decoy(s.sessions.decoys, name)
	}
	matches, done := s.matches(r, u.hash, password)
	switch {
	case !done:
		s.slow.undo(address, name)
		return user{}, &failure{status: http.StatusServiceUnavailable, what: "Busy", wait: 2 * time.Second,
			why: "Too many people sign in at once. Try again in a few seconds."}
	case !matches || !there:
		s.log.Warn("somebody could not sign in: wrong name or password", "client", address)
		if !there {
			name = "" // it may be a password in the wrong field
		}
		s.tell(r, Who{Name: name, How: Password}, SignedIn, "wrong name or password")
		return user{}, &failure{status: http.StatusUnauthorized, what: "Not signed in", why: "The name or the password is wrong."}
	}
	s.slow.succeed(address, name)
	s.known.add(name, password, u.print)
	return u, nil
}

// matches compares a password when it is its turn; done is false if there was none.
func (s *Signin) matches(r *http.Request, hash hashed, password string) (matches, done bool) {
	if !s.hashing.take(r.Context()) {
		return false, false
	}
	defer s.hashing.give()
	return hash.matches(password), true
}

func (s *Signin) tooMany(address string, wait time.Duration) *failure {
	s.log.Warn("too many attempts to sign in: they have to wait", "client", address)
	return &failure{status: http.StatusTooManyRequests, what: "Too many attempts", wait: wait,
		why: "Too many attempts to sign in have failed. Try again in " + seconds(wait) + " s."}
}

// place is what the attempts from an address are counted by: with IPv6 its network, of
// which anybody has all addresses.
func (s *Signin) place(r *http.Request) string {
	a := s.remote(r)
	if !a.Is4() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}

func seconds(d time.Duration) string {
	return strconv.Itoa(int((d + time.Second - 1) / time.Second))
}

const (
	maxKnown  = 1024
	knownTime = 10 * time.Minute
)

// credentials are names and passwords that were right a while ago, so that a script that
// asks each second does not cost a processor. It keeps no password, but a MAC whose key
// is in memory only. A user who has another password is not known by the old one.
type credentials struct {
	key []byte
	mu  sync.Mutex // guards what follows
	at  map[[sha256.Size]byte]time.Time
}

func newCredentials() *credentials {
	return &credentials{key: newKey(), at: make(map[[sha256.Size]byte]time.Time)}
}

func (c *credentials) mac(name, password, print string) (sum [sha256.Size]byte) {
	h := hmac.New(sha256.New, c.key)
	for _, part := range []string{name, password, print} {
		h.Write([]byte(strconv.Itoa(len(part)) + ":" + part))
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func (c *credentials) has(name, password, print string) bool {
	sum := c.mac(name, password, print)
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.at[sum]
	return ok && time.Since(at) < knownTime
}

func (c *credentials) add(name, password, print string) {
	sum := c.mac(name, password, print)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.at) >= maxKnown {
		clear(c.at)
	}
	c.at[sum] = time.Now()
}
