package api

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/millrace-mq/millrace/qd/broker"
	"github.com/millrace-mq/millrace/qd/queue"
)

// How long, in bytes, the words about a pause may be.
const (
	maxReason = 500
	maxBy     = 200
)

// pauseTopic pauses a topic. Without the arguments of pauseArguments it is nsqd's.
func (a *api) pauseTopic(r *http.Request, q url.Values) (any, error) {
	p, err := a.pauseArguments(q)
	if err != nil {
		return nil, err
	}
	return a.onTopic(func(t *broker.Topic) error { return t.Pause(p) })(r, q)
}

// pauseChannel is pauseTopic for a channel.
func (a *api) pauseChannel(r *http.Request, q url.Values) (any, error) {
	p, err := a.pauseArguments(q)
	if err != nil {
		return nil, err
	}
	return a.onChannel(func(t *broker.Topic, channel string) error { return t.PauseChannel(channel, p) })(r, q)
}

// pauseArguments reads why something is paused, by whom, and until when or for how
// long.
func (a *api) pauseArguments(q url.Values) (p queue.Pause, err error) {
	if p.Reason, err = wordsArgument(q, "reason", maxReason); err != nil {
		return p, err
	}
	if p.By, err = wordsArgument(q, "by", maxBy); err != nil {
		return p, err
	}
	now := time.Now().UnixNano() // people's time, and not the broker's
	switch {
	case q.Has("until") && q.Has("for"):
		err = invalid("for", "give until or for, not both")
	case q.Has("until"):
		p.Until, err = untilArgument(q, now)
	case q.Has("for"):
		p.Until, err = forArgument(q, now)
	}
	return p, err
}

// wordsArgument returns the query's value for name, a line of at most so many
// bytes; it is empty if there is none. What could tear a line of a log, or
// disguise itself in a terminal, is refused.
func wordsArgument(q url.Values, name string, most int) (string, error) {
	text := q.Get(name)
	if len(text) > most || !utf8.ValidString(text) || strings.ContainsFunc(text, disguises) {
		return "", invalid(name, fmt.Sprintf("must be a line of text of at most %d bytes, without control characters", most))
	}
	return text, nil
}

func disguises(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
}

// untilArgument returns the query's until, a time after now, in ns since the Unix
// epoch.
func untilArgument(q url.Values, now int64) (int64, error) {
	until, ok := parseTime(q.Get("until"))
	if !ok || until <= now {
		return 0, invalid("until", "must be a time in the future, before the year 2262: RFC 3339, or milliseconds or nanoseconds since 1970")
	}
	return until, nil
}

// forArgument returns the end of the query's for, a duration that begins now.
func forArgument(q url.Values, now int64) (int64, error) {
	d, err := time.ParseDuration(q.Get("for"))
	if until := now + int64(d); err == nil && until > now {
		return until, nil
	}
	return 0, invalid("for", "must be a duration such as 90m or 12h, above 0, that ends before the year 2262")
}

// parseTime reads a time: RFC 3339, or milliseconds or, from 15 digits on,
// nanoseconds since 1970. ok is false for one that nanoseconds cannot express,
// too.
func parseTime(text string) (ns int64, ok bool) {
	n, err := strconv.ParseUint(text, 10, 63) // takes no signs
	if err == nil && len(text) > 14 {
		return int64(n), true
	}
	at := time.UnixMilli(int64(n))
	if err != nil {
		if at, err = time.Parse(time.RFC3339Nano, text); err != nil {
			return 0, false
		}
	}
	ns = at.UnixNano()
	return ns, time.Unix(0, ns).Equal(at)
}
