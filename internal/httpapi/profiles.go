package httpapi

import (
	"net/http"
	"net/http/pprof"
	"strconv"
	"strings"
	"time"

	"github.com/millrace-mq/millrace/internal/access"
)

const profiles = "/debug/pprof/"

// Profiles routes Go's profiles at /debug/pprof/. They are for who may manage: a
// profile takes of the processor what it likes, and shows how the daemon was started.
func (r *Router) Profiles() {
	r.Plain("GET", profiles+"*profile", access.Manage, profile)
	r.Plain("POST", profiles+"symbol", access.Manage, pprof.Symbol)
}

// profile exists because pprof.Index does not know these four.
func profile(w http.ResponseWriter, r *http.Request) {
	switch strings.TrimPrefix(r.URL.Path, profiles) {
	case "cmdline":
		pprof.Cmdline(w, r)
	case "profile":
		pprof.Profile(w, r)
	case "symbol":
		pprof.Symbol(w, r)
	case "trace":
		pprof.Trace(w, r)
	default:
		pprof.Index(w, r)
	}
}

// Patient bounds the time that a client may take: body to send what follows
// the header of its request, and answer more to read what it is
// answered. Without that, one that stops half-way would keep what it has of our
// memory for ever. A profile may take as long as it was asked to.
func Patient(h http.Handler, body, answer time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control, now := http.NewResponseController(w), time.Now()
		answered := now.Add(body + answer)
		if strings.HasPrefix(r.URL.Path, profiles) {
			answered = answered.Add(profiling(r))
		}
		// Neither fails but on writers of tests, which have no connection.
		_ = control.SetWriteDeadline(answered)
		if r.Body != http.NoBody {
			_ = control.SetReadDeadline(now.Add(body))
		}
		h.ServeHTTP(w, r)
	})
}

// profiling is how long a profile is going to take: what was asked for, or
// pprof's own half a minute.
func profiling(r *http.Request) time.Duration {
	const most = 24 * 60 * 60
	if s, err := strconv.ParseFloat(r.URL.Query().Get("seconds"), 64); err == nil && s > 0 {
		return time.Duration(min(s, most) * float64(time.Second))
	}
	return 30 * time.Second
}
