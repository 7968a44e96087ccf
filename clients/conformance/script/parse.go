package script

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// kinds are how something that a client was asked for can end.
var kinds = []string{"stored", "refused", "unavailable", "uncertain", "closed", "ok", "error"}

// methods are the verbs of a client's methods, and the names of these.
var methods = map[string]string{
	"flushes": "flush", "closes": "close", "pauses": "pause", "resumes": "resume", "seeks": "seek",
}

// answers are the verbs for what a handler does with a message.
var answers = map[string]string{
	"finishes": "finish", "fails": "fail", "panics": "panic", "keeps": "keep", "requeues": "requeue", "touches": "touch",
}

// parseLine reads one step. Who it is about tells which kind it is: clients are
// written small, daemons and lookupds large, and a lookupd begins with L.
func parseLine(line string) (Act, error) {
	w, err := split(line)
	if err != nil {
		return nil, err
	}
	subject := w.next()
	var act Act
	switch {
	case subject == "writer" || subject == "reader":
		act, err = parseOpen(subject == "reader", &w)
	case subject == "wraps" || subject == "unwraps":
		act, err = parseTrace(subject == "unwraps", &w)
	case subject == "wait":
		act, err = parseWait(&w)
	case isLookupd(subject):
		act, err = parseLookupd(subject, &w)
	case IsDaemon(subject):
		act, err = parseDaemon(subject, &w)
	case isClient(subject):
		act, err = parseClient(subject, &w)
	default:
		return nil, fmt.Errorf("%q is no client, daemon or lookupd", subject)
	}
	if err != nil {
		return nil, err
	}
	return act, w.end()
}

// IsDaemon reports whether a scenario's name is a daemon's: a capital letter,
// and digits after it. So are "it" and "other", which "A or B" sets.
func IsDaemon(name string) bool {
	return name == "it" || name == "other" || isCapital(name) && name[0] != 'L'
}

func isLookupd(name string) bool { return isCapital(name) && name[0] == 'L' }

func isCapital(name string) bool {
	return name != "" && 'A' <= name[0] && name[0] <= 'Z' && strings.Trim(name[1:], "0123456789") == ""
}

func isClient(name string) bool {
	return name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

func parseOpen(reader bool, w *words) (Act, error) {
	o := Open{Reader: reader, Client: w.next()}
	if !isClient(o.Client) {
		return nil, fmt.Errorf("%q is no name for a client", o.Client)
	}
	var err1, err2 error
	o.Settings, err1 = w.settings()
	o.Result, err2 = parseResult(w)
	return o, errors.Join(err1, err2)
}

func parseWait(w *words) (Act, error) {
	d, err := w.duration()
	return Wait{d}, err
}

// parseResult reads "-> KIND" and, in quotes, a part of the error's text.
func parseResult(w *words) (*Result, error) {
	if !w.is("->") {
		return nil, nil
	}
	r := &Result{Kind: w.next()}
	if !slices.Contains(kinds, r.Kind) {
		return nil, fmt.Errorf("%q is none of %v", r.Kind, kinds)
	}
	if len(w.list) > 0 {
		text, err := w.body()
		if err != nil {
			return nil, err
		}
		r.Text = text
	}
	return r, nil
}

func parseClient(client string, w *words) (Act, error) {
	if bodies := w.bodies(); len(bodies) > 0 {
		return parseTold(Told{Client: client, Bodies: bodies}, w)
	}
	verb := w.next()
	if method := methods[verb]; method != "" {
		return parseCall(Call{Client: client, Method: method}, w)
	}
	if how := answers[verb]; how != "" {
		return parseAnswer(Answer{Client: client, How: how}, w)
	}
	switch verb {
	case "publishes":
		return parsePublish(client, w)
	case "receives":
		return parseReceives(Receives{Client: client}, w)
	case "gives":
		if !w.is("up") {
			return nil, errors.New("gives up what?")
		}
		return parseReceives(Receives{Client: client, GivenUp: true}, w)
	case "accepts":
		a := Accepts{client, w.bodies()}
		if len(a.Bodies) == 0 {
			return nil, errors.New("it accepts which messages?")
		}
		return a, nil
	case "lets":
		if !w.is("go") {
			return nil, errors.New("it only lets go")
		}
		return LetGo{client}, nil
	case "flush", "close", "seek", "run":
		return parseTold(Told{Client: client, Method: verb}, w)
	}
	return nil, fmt.Errorf("a client does not do %q", verb)
}

func parseTold(t Told, w *words) (Act, error) {
	r, err := parseResult(w)
	if err == nil && r == nil {
		err = errors.New("-> and how it ended are missing")
	}
	if err != nil {
		return nil, err
	}
	t.Result = *r
	return t, nil
}

func parseCall(c Call, w *words) (Act, error) {
	if c.Method == "seek" {
		c.Place = w.next()
	}
	var err1, err2 error
	c.Timeout, err1 = w.timeout()
	c.Result, err2 = parseResult(w)
	return c, errors.Join(err1, err2)
}

func parseAnswer(a Answer, w *words) (act Act, err error) {
	if a.Body, err = w.body(); err != nil {
		return nil, err
	}
	if a.How == "requeue" {
		a.Delay, err = w.duration()
	}
	return a, err
}

func parsePublish(client string, w *words) (act Act, err error) {
	p := Publish{Client: client, Form: One}
	p.Blocking = w.is("blocking")
	p.Async = w.is("async") || p.Blocking
	switch {
	case w.is("many"):
		p.Form = Many
	case w.is("each"):
		p.Form = Each
	case w.is("deferred"):
		p.Form = Deferred
		if p.Delay, err = w.duration(); err != nil {
			return nil, err
		}
	}
	p.Topic = w.next()
	p.Bodies = w.bodies()
	if p.Form != Each && p.Form != Many && len(p.Bodies) != 1 {
		return nil, errors.New("one message is published so; say many or each")
	}
	var err1, err2 error
	p.Timeout, err1 = w.timeout()
	p.Result, err2 = parseResult(w)
	return p, errors.Join(err1, err2)
}

func parseReceives(r Receives, w *words) (act Act, err error) {
	if r.Body, err = w.body(); err != nil {
		return nil, err
	}
	if value, ok, err := w.setting("attempts"); ok {
		if err != nil {
			return nil, err
		}
		r.Attempts, err = strconv.Atoi(value)
		return r, err
	}
	return r, nil
}

func parseTrace(unwrap bool, w *words) (act Act, err error) {
	t := Trace{Unwrap: unwrap}
	if t.Given, err = w.body(); err != nil {
		return nil, err
	}
	read := func(parent, state *string) error {
		var err1, err2 error
		*parent, _, err1 = w.setting("traceparent")
		*state, _, err2 = w.setting("tracestate")
		return errors.Join(err1, err2)
	}
	err1 := read(&t.Traceparent, &t.Tracestate)
	if !w.is("->") {
		return nil, errors.New("-> and the result are missing")
	}
	if t.Result, err = w.body(); err != nil {
		return nil, err
	}
	return t, errors.Join(err1, read(&t.GotTraceparent, &t.GotTracestate))
}
