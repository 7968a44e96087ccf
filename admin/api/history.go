package api

import (
	"fmt"
	"hash/fnv"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/millrace-mq/millrace/admin/history"
	"github.com/millrace-mq/millrace/internal/httpapi"
	"github.com/millrace-mq/millrace/protocol"
)

const (
	defaultPast   = time.Hour
	maxPoints     = 2000
	defaultPoints = 300
)

// seriesView is a history for charts: arrays of the same length. Times are ms since
// 1970, since charts count in them.
type seriesView struct {
	Topic   string              `json:"topic,omitempty"`
	Channel string              `json:"channel,omitempty"`
	Node    string              `json:"node,omitempty"`
	At      *string             `json:"at"` // of the newest figures
	Step    int64               `json:"step_ms"`
	Times   []int64             `json:"times"` // when each point begins
	Values  map[string][]number `json:"values"`
	Marks   []markView          `json:"marks"`
}

type markView struct {
	At   int64  `json:"at"`
	Node string `json:"node,omitempty"`
	What string `json:"what"`
}

// number is one that may not be known: NaN is null.
type number float64

// MarshalJSON implements json.Marshaler. Six digits are more than history keeps.
func (n number) MarshalJSON() ([]byte, error) {
	if f := float64(n); !math.IsNaN(f) && !math.IsInf(f, 0) {
		return strconv.AppendFloat(nil, f, 'g', 6, 64), nil
	}
	return []byte("null"), nil
}

// history answers with a series, or 304 if nothing has come since the client has it.
func (a *api) history(w http.ResponseWriter, r *http.Request) {
	v, tag, err := a.series(r)
	if err != nil {
		a.send(w, nil, err)
		return
	}
	w.Header().Set("Cache-Control", "private, no-cache") // keep it, and ask whether it is good
	w.Header().Set("ETag", tag)
	if matches(r.Header.Get("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	a.send(w, v, nil)
}

func matches(header, tag string) bool {
	for t := range strings.SplitSeq(header, ",") {
		if t = strings.TrimSpace(t); t == tag || t == "*" {
			return true
		}
	}
	return false
}

func (a *api) series(r *http.Request) (v *seriesView, tag string, err error) {
	if err := mayLook(r); err != nil {
		return nil, "", err
	}
	q, err := httpapi.Query(r)
	if err != nil {
		return nil, "", err
	}
	at := a.Source.Latest().At
	now := time.Now()
	if !at.IsZero() {
		now = at
	}
	w, err := windowOf(q, now)
	if err != nil {
		return nil, "", err
	}
	s := a.History.Series(w.key, w.from, w.to, w.points)
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, w.key, w.from.UnixNano(), w.to.UnixNano(), w.points, w.since.UnixNano(), at.UnixNano())
	return w.view(&s, when(at)), fmt.Sprintf(`W/"%x"`, h.Sum64()), nil
}

// window is which part of the past is asked for.
type window struct {
	key             history.Key
	from, to, since time.Time
	points          int
}

func windowOf(q url.Values, now time.Time) (w window, err error) {
	w = window{key: history.Key{Node: q.Get("node"), Topic: q.Get("topic"), Channel: q.Get("channel")}, to: now, points: defaultPoints}
	switch {
	case w.key.Topic != "" && !protocol.ValidName(w.key.Topic):
		return w, invalid("topic", "must be the name of a topic")
	case w.key.Channel != "" && (!protocol.ValidName(w.key.Channel) || w.key.Topic == ""):
		return w, invalid("channel", "must be the name of a channel, with its topic")
	}
	if v := q.Get("to"); v != "" {
		if w.to, err = moment("to", v, now); err != nil {
			return w, err
		}
	}
	w.from = w.to.Add(-defaultPast)
	if v := q.Get("from"); v != "" {
		if w.from, err = moment("from", v, now); err != nil {
			return w, err
		}
	}
	if v := q.Get("since"); v != "" {
		if w.since, err = moment("since", v, now); err != nil {
			return w, err
		}
	}
	if !w.from.Before(w.to) {
		return w, invalid("from", "must be before to")
	}
	if v := q.Get("points"); v != "" {
		if w.points, err = strconv.Atoi(v); err != nil || w.points < 1 || w.points > maxPoints {
			return w, invalid("points", fmt.Sprintf("must be a number from 1 to %d", maxPoints))
		}
	}
	return w, nil
}

// moment reads a time: as daemons take it, or so long ago, as -1h.
func moment(name, v string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(v); err == nil && d <= 0 && strings.HasPrefix(v, "-") {
		return now.Add(d), nil
	}
	if n, err := strconv.ParseInt(v, 10, 64); err == nil && n >= 0 {
		if len(v) <= 14 {
			return time.UnixMilli(n), nil
		}
		return time.Unix(0, n), nil
	}
	t, err := time.Parse(time.RFC3339Nano, v)
	if err != nil {
		return t, invalid(name, "must be a time (RFC 3339, or milliseconds or nanoseconds since 1970), or so long ago, such as -1h")
	}
	return t, nil
}

// view is the part of a series that begins after since.
func (w *window) view(s *history.Series, at *string) *seriesView {
	v := &seriesView{
		Topic: w.key.Topic, Channel: w.key.Channel, Node: w.key.Node, At: at, Step: s.Step.Milliseconds(),
		Times: []int64{}, Values: make(map[string][]number), Marks: []markView{},
	}
	first := 0
	for first < len(s.Times) && !s.Times[first].After(w.since) {
		first++
	}
	for _, t := range s.Times[first:] {
		v.Times = append(v.Times, t.UnixMilli())
	}
	for m := range history.Metrics {
		values := make([]number, 0, len(v.Times))
		for _, f := range s.Values[m][min(first, len(s.Values[m])):] {
			values = append(values, number(f))
		}
		v.Values[m.String()] = values
	}
	for _, m := range s.Marks {
		if m.At.After(w.since) {
			v.Marks = append(v.Marks, markView{m.At.UnixMilli(), m.Node, m.What})
		}
	}
	return v
}

func invalid(name, must string) error {
	return httpapi.BadRequest("INVALID_ARG_" + strings.ToUpper(name) + ": " + name + " " + must)
}
