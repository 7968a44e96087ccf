package actions

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"unicode"
)

// withPause adds who pauses, why, and for how long. A duration is passed on as one:
// nodes' clocks may differ from ours.
func (j *job) withPause(q url.Values) url.Values {
	j.addArgs(q)
	if by := line(j.who.Name, maxBy); by != "" {
		q.Set("by", by)
	}
	return q
}

// pause pauses something. An nsqd does it too, but for ever.
func (j *job) pause(path string, q url.Values) func(ctx context.Context, address string) outcome {
	do := j.post(path, q)
	return func(ctx context.Context, address string) outcome {
		o := do(ctx, address)
		if n := nodeAt(j.snapshot, address); o.done && n != nil && n.Up && !n.Millrace {
			o.text = lost(q)
		}
		return o
	}
}

// lost is what an nsqd does not keep of a pause.
func lost(q url.Values) string {
	switch {
	case q.Has("until") || q.Has("for"):
		return "this node is an nsqd: it keeps no reason, and does not resume by itself"
	case q.Has("reason"):
		return "this node is an nsqd: it keeps no reason"
	}
	return ""
}

// planNodes has each node do what it is asked for.
func (j *job) planNodes() []phase {
	p := phase{calls: make(map[string][]call)}
	for i, t := range j.request.Targets {
		var do func(ctx context.Context, address string) outcome
		switch j.act.Name {
		case "drain-node":
			q := url.Values{}
			j.addArgs(q)
			do = j.post("/drain", q)
		case "disconnect":
			do = j.post("/client/disconnect", url.Values{"connection": {t.ID}})
		default:
			do = j.allTopics
		}
		p.calls[t.Node] = append(p.calls[t.Node], call{i, do})
	}
	return []phase{p}
}

// allTopics pauses or resumes all topics of a node, as it tells them now. What is
// paused already keeps its reason.
func (j *job) allTopics(ctx context.Context, address string) outcome {
	resume := j.act.Name == "unpause-node"
	var stats struct {
		Topics []struct {
			Name   string `json:"topic_name"`
			Paused bool   `json:"paused"`
		} `json:"topics"`
	}
	q := url.Values{"format": {"json"}, "include_clients": {"false"}, "include_mem": {"false"}}
	if err := j.cluster.Get(ctx, address, "/stats", q, &stats); err != nil {
		return outcome{mute: true, text: "its topics are not known, nothing was done: " + reason(err)}
	}
	var calls []call
	var names []string
	for _, t := range stats.Topics {
		if t.Paused != resume {
			continue
		}
		names = append(names, t.Name)
		do := j.post("/topic/unpause", url.Values{"topic": {t.Name}})
		if !resume {
			do = j.pause("/topic/pause", j.withPause(url.Values{"topic": {t.Name}}))
		}
		calls = append(calls, call{len(calls), do})
	}
	return j.sumTopics(ctx, address, names, calls, len(stats.Topics))
}

// sumTopics makes a node's calls, one for each of its topics that are named, and sums
// them up as one.
func (j *job) sumTopics(ctx context.Context, address string, names []string, calls []call, all int) outcome {
	inner := &job{Actions: j.Actions, act: j.act, snapshot: j.snapshot, who: j.who, number: j.number, done: make(map[int]bool)}
	for _, name := range names {
		inner.request.Targets = append(inner.request.Targets, Target{Topic: name})
	}
	t := &tally{address: address, calls: len(calls)}
	t.make(ctx, inner, calls)
	r := t.result(inner)
	word := "paused"
	if j.act.Name == "unpause-node" {
		word = "resumed"
	}
	notes := []string{topics(t.did) + " " + word}
	if rest := all - len(calls); rest > 0 {
		notes = append(notes, topics(rest)+" so already")
	}
	if t.note != "" {
		notes = append(notes, t.note)
	}
	note := strings.Join(notes, "; ")
	if !r.OK {
		return outcome{text: note + "; " + r.Error}
	}
	return outcome{done: true, text: note}
}

func topics(n int) string {
	if n == 1 {
		return "1 topic"
	}
	return number(n) + " topics"
}

// line is text in a line of at most so many bytes, as daemons take it.
func line(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if disguises(r) {
			return -1
		}
		return r
	}, text)
	if len(text) > most {
		text = text[:most]
	}
	return strings.ToValidUTF8(text, "")
}

// disguises reports whether a character could tear a line of a log, or make it look
// like another.
func disguises(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
}

var errNonsense = errors.New("its answer is nonsense")
