package signin

import (
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/securecookie"
)

const (
	sessionCookie = "millrace_session"
	maxEnded      = 10_000 // sessions that were signed out of and are not over yet
	maxCookies    = 4      // of one name that are looked at
)

// session is what a cookie says. It is encrypted and signed; what it is worth depends
// on the users' file as it is now.
type session struct {
	ID     string   `json:"i"`
	Name   string   `json:"n"`
	How    string   `json:"h"`
	Print  string   `json:"p"`           // of the password, or the provider
	Token  string   `json:"t,omitempty"` // of an access file: what it is worth may change with every request
	Groups []string `json:"g,omitempty"` // from the provider: those that have a role
	Begun  int64    `json:"b"`           // seconds since 1970, as is
	Seen   int64    `json:"s"`
}

// sessions are all that are valid.
type sessions struct {
	codec         *securecookie.SecureCookie
	flows         *securecookie.SecureCookie // of cookies while somebody is at the provider
	decoys        []byte                     // the key that people.decoy wants
	idle, longest time.Duration

	mu    sync.Mutex       // guards what follows
	ended map[string]int64 // by ID: when the session that was signed out of had begun
	floor int64            // sessions that had begun by then are over
}

func newSessions(keyFile string, idle, longest time.Duration, log *slog.Logger) (*sessions, error) {
	key, err := loadKey(keyFile, log)
	if err != nil {
		return nil, err
	}
	codec := func(purpose string) *securecookie.SecureCookie {
		c := securecookie.New(derive(key, purpose+" signing"), derive(key, purpose+" encryption"))
		return c.SetSerializer(securecookie.JSONEncoder{}).MaxAge(0) // times are ours to look at
	}
	return &sessions{
		codec: codec("session"), flows: codec("oidc"), decoys: derive(newKey(), "decoys"),
		idle: idle, longest: longest, ended: make(map[string]int64),
	}, nil
}

func randomText() string {
	b := make([]byte, 24)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// begin completes a new session.
func (ss *sessions) begin(s session, now time.Time) session {
	s.ID, s.Begun, s.Seen = randomText(), now.Unix(), now.Unix()
	return s
}

// read returns the session of a request; nil if it has none. strange reports whether
// there is a cookie that is none of ours.
func (ss *sessions) read(r *http.Request, now time.Time) (s *session, strange bool) {
	cookies := r.CookiesNamed(sessionCookie)
	for _, c := range cookies[:min(len(cookies), maxCookies)] {
		s := new(session)
		if ss.codec.Decode(sessionCookie, c.Value, s) != nil {
			strange = true
		} else if ss.alive(s, now) {
			return s, false
		}
	}
	return nil, strange
}

func (ss *sessions) alive(s *session, now time.Time) bool {
	begun, seen := time.Unix(s.Begun, 0), time.Unix(s.Seen, 0)
	if now.Sub(begun) >= ss.longest || now.Sub(seen) >= ss.idle {
		return false
	}
	ss.mu.Lock()
	defer ss.mu.Unlock()
	_, ended := ss.ended[s.ID]
	return !ended && s.Begun > ss.floor
}

// end ends a session for good, whoever has its cookie.
func (ss *sessions) end(s *session, now time.Time) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if len(ss.ended) >= maxEnded {
		ss.makeRoom(now)
	}
	ss.ended[s.ID] = s.Begun
}

// makeRoom forgets the older half of those that have ended. No other session that is as
// old is valid any more then: some have to sign in again, but nobody comes back in
// with what he signed out of.
func (ss *sessions) makeRoom(now time.Time) {
	over := now.Add(-ss.longest).Unix()
	maps.DeleteFunc(ss.ended, func(_ string, begun int64) bool { return begun <= over })
	if len(ss.ended) < maxEnded {
		return
	}
	begun := slices.Sorted(maps.Values(ss.ended))
	ss.floor = begun[len(begun)/2]
	maps.DeleteFunc(ss.ended, func(_ string, begun int64) bool { return begun <= ss.floor })
}

// stale reports whether the cookie should be sent anew, so that a session that is used
// is not taken for idle.
func (ss *sessions) stale(s *session, now time.Time) bool {
	return now.Sub(time.Unix(s.Seen, 0)) >= min(ss.idle/10, 5*time.Minute)
}

// cookie returns what the browser is to keep. It has no value and is removed if s is
// nil.
func (ss *sessions) cookie(s *session, base string, secure bool, now time.Time) (*http.Cookie, error) {
	// #nosec G124 -- HttpOnly and SameSite are set, and Secure where the browser came by TLS
	c := &http.Cookie{Name: sessionCookie, Path: base, HttpOnly: true, Secure: secure, SameSite: http.SameSiteLaxMode, MaxAge: -1}
	if s == nil {
		return c, nil
	}
	value, err := ss.codec.Encode(sessionCookie, s)
	left := time.Unix(s.Begun, 0).Add(ss.longest).Sub(now)
	c.Value, c.MaxAge = value, cmp.Or(int(min(ss.idle, left)/time.Second), -1)
	return c, err
}
