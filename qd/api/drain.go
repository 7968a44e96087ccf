package api

import (
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/millrace-mq/millrace/qd/drain"
)

// live answers OK: that it does is all there is to say.
func (a *api) live(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "OK") }

// ready answers OK if the daemon takes publishes, else 503 and why not.
func (a *api) ready(w http.ResponseWriter, _ *http.Request) {
	if _, why := a.source.State(); why != "" {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, why)
		return
	}
	_, _ = io.WriteString(w, "OK")
}

// progress is the answer to GET and POST /drain.
type progress struct {
	State    string `json:"state"`
	Since    int64  `json:"since,omitempty"`    // ns since the Unix epoch
	Deadline int64  `json:"deadline,omitempty"` // likewise; 0 is none
	// Messages are those that are waited for, by channel; InFlight and Deferred are
	// among them. Later are deferred beyond the deadline.
	Messages  int    `json:"messages"`
	InFlight  int    `json:"in_flight"`
	Deferred  int    `json:"deferred"`
	Later     int    `json:"later"`
	Dead      int    `json:"dead"`
	Topics    int    `json:"topics"` // with messages that are waited for
	Consumers int    `json:"consumers"`
	Note      string `json:"note,omitempty"`
}

// drainProgress is GET /drain.
func (a *api) drainProgress(*http.Request, url.Values) (any, error) { return a.progress(""), nil }

func (a *api) progress(note string) progress {
	state, _ := a.source.State()
	p := a.Drain.Progress()
	return progress{
		State: state, Since: p.Since, Deadline: p.Deadline,
		Messages: p.Messages(), InFlight: p.InFlight, Deferred: p.Due, Later: p.Later, Dead: p.Dead,
		Topics: p.Topics, Consumers: p.Consumers, Note: note,
	}
}

// beginDrain is POST /drain. Without a time, a drain has no end but that nothing
// is left, and one that is under way keeps the end that it has: a request that is
// sent twice must not take from another one what that has said.
func (a *api) beginDrain(_ *http.Request, q url.Values) (any, error) {
	text, timed := q["timeout"]
	var within time.Duration
	if timed {
		var err error
		if within, err = time.ParseDuration(text[0]); err != nil || within < 0 {
			return nil, invalid("timeout", "must be a duration such as 90s or 5m; 0 ends the daemon now")
		}
	}
	a.Log.Info("drain asked for over HTTP", "timeout", q.Get("timeout"))
	first := false
	if timed {
		first = a.Drain.Set(within)
	} else {
		first = a.Drain.Begin(drain.Forever)
	}
	if !first {
		return a.progress("the drain was under way already, and cannot be taken back; its time is as told here"), nil
	}
	return a.progress("a drain cannot be taken back; POST /drain with a timeout changes how long it may take"), nil
}
