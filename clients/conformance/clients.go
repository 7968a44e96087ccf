package conformance

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/millrace-mq/millrace/clients/conformance/goclient"
	"github.com/millrace-mq/millrace/clients/conformance/script"
)

// named are the fakes in a setting that lists some.
func named(settings []script.Setting, key string) []string {
	for _, s := range settings {
		if s.Key == key {
			return strings.Split(s.Value, ",")
		}
	}
	return nil
}

// client does what concerns a client.
func (p *play) client(ctx context.Context, act script.Act) error {
	switch a := act.(type) {
	case script.Open:
		return p.open(ctx, a)
	case script.Publish:
		return p.publish(ctx, a)
	case script.Call:
		return p.call(ctx, a)
	case script.Told:
		return p.told(ctx, a)
	case script.Accepts:
		return p.accepts(ctx, a)
	case script.LetGo:
		return p.do(ctx, goclient.Request{Do: "letgo", Client: a.Client})
	case script.Receives:
		return p.receives(ctx, a)
	case script.Answer:
		return p.answer(ctx, a)
	case script.Trace:
		return p.trace(ctx, a)
	}
	return fmt.Errorf("nobody does %T", act)
}

// ask sends a request and returns its number.
func (p *play) ask(r goclient.Request) (int, error) {
	r.ID = p.lastID + 1
	p.lastID += max(1, len(r.Bodies))
	return r.ID, p.process.ask(r)
}

// do sends a request that is to end well at once.
func (p *play) do(ctx context.Context, r goclient.Request) error {
	id, err := p.ask(r)
	if err != nil {
		return err
	}
	return p.expectResult(ctx, id, script.Result{Kind: "ok"})
}

func (p *play) result(ctx context.Context, id int) (e goclient.Event, err error) {
	if !p.world.Wait(ctx, func() bool {
		got, ok := p.results[id]
		e = got
		return ok
	}) {
		return e, errors.New("it has not ended")
	}
	return e, nil
}

func (p *play) expectResult(ctx context.Context, id int, want script.Result) error {
	e, err := p.result(ctx, id)
	switch {
	case err != nil:
		return err
	case e.Result != want.Kind, !strings.Contains(e.Text, want.Text):
		return fmt.Errorf("it has ended as %s: %s", e.Result, e.Text)
	}
	return nil
}

func (p *play) open(ctx context.Context, a script.Open) error {
	r := goclient.Request{Do: "writer", Client: a.Client, Settings: map[string]string{}}
	if a.Reader {
		r.Do = "reader"
	}
	for _, s := range a.Settings {
		r.Settings[s.Key] = s.Value
		var places []string
		switch s.Key {
		case "addresses":
			for name := range strings.SplitSeq(s.Value, ",") {
				if d := p.daemons[name]; d != nil {
					name = d.Address
				}
				places = append(places, name)
			}
		case "lookupds":
			for name := range strings.SplitSeq(s.Value, ",") {
				places = append(places, p.lookupds[name].Address)
			}
		case "spool":
			places = []string{filepath.Join(p.folder, s.Value)}
		default:
			continue
		}
		r.Settings[s.Key] = strings.Join(places, ",")
	}
	want := script.Result{Kind: "ok"}
	if a.Result != nil {
		want = *a.Result
	}
	id, err := p.ask(r)
	if err != nil {
		return err
	}
	if want.Kind == "ok" {
		p.clients = append(p.clients, a.Client)
	}
	return p.expectResult(ctx, id, want)
}

func (p *play) publish(ctx context.Context, a script.Publish) error {
	r := goclient.Request{
		Do: "publish", Client: a.Client, Form: string(a.Form), Async: a.Async, Blocking: a.Blocking,
		Topic: a.Topic, Delay: a.Delay.Milliseconds(), Timeout: a.Timeout.Milliseconds(),
	}
	for _, b := range a.Bodies {
		r.Bodies = append(r.Bodies, goclient.Pack([]byte(b)))
	}
	var questions []question
	if a.Form == script.Each {
		for _, b := range a.Bodies {
			questions = append(questions, question{client: a.Client, body: b})
		}
	} else {
		questions = []question{{client: a.Client, body: joined(a.Bodies)}}
	}
	p.world.Do(func(func(string, ...any)) {
		for i, q := range questions {
			p.asked[q] = p.lastID + 1 + i
		}
	})
	if _, err := p.ask(r); err != nil || a.Result == nil {
		return err
	}
	return p.told(ctx, script.Told{Client: a.Client, Bodies: a.Bodies, Result: *a.Result})
}

// joined names a batch by its bodies.
func joined(bodies []string) string { return strings.Join(bodies, "\x00") }

func (p *play) call(ctx context.Context, a script.Call) error {
	r := goclient.Request{Do: a.Method, Client: a.Client, Place: a.Place, Timeout: a.Timeout.Milliseconds()}
	if a.Method == "pause" || a.Method == "resume" {
		return p.do(ctx, r)
	}
	q := question{client: a.Client, method: a.Method}
	p.world.Do(func(func(string, ...any)) { p.asked[q] = p.lastID + 1 })
	if _, err := p.ask(r); err != nil || a.Result == nil {
		return err
	}
	return p.told(ctx, script.Told{Client: a.Client, Method: a.Method, Result: *a.Result})
}

// told waits for results. Bodies are one batch's, or each was published by itself.
func (p *play) told(ctx context.Context, a script.Told) error {
	questions := []question{{client: a.Client, method: a.Method, body: joined(a.Bodies)}}
	if _, one := p.asked[questions[0]]; !one && len(a.Bodies) > 1 {
		questions = nil
		for _, b := range a.Bodies {
			questions = append(questions, question{client: a.Client, body: b})
		}
	}
	for _, q := range questions {
		id, ok := p.asked[q]
		if !ok {
			return fmt.Errorf("%s was not asked for this, or it was said what came of it", a.Client)
		}
		if err := p.expectResult(ctx, id, a.Result); err != nil {
			return err
		}
		p.world.Do(func(func(string, ...any)) { delete(p.asked, q) })
		if q.method == "close" {
			p.clients = slices.DeleteFunc(p.clients, func(c string) bool { return c == a.Client })
		}
	}
	return nil
}

func (p *play) accepts(ctx context.Context, a script.Accepts) error {
	id, ok := p.asked[question{client: a.Client, body: joined(a.Bodies)}]
	if !ok {
		return fmt.Errorf("%s was not asked for this", a.Client)
	}
	if !p.world.Wait(ctx, func() bool { return p.accepted[id] || p.results[id].ID == id }) {
		return errors.New("it is not accepted")
	}
	return nil
}

func (p *play) receives(ctx context.Context, a script.Receives) error {
	var got goclient.Event
	if !p.world.Wait(ctx, func() bool {
		i := slices.IndexFunc(p.received, func(e goclient.Event) bool { return e.Client == a.Client })
		if i < 0 {
			return false
		}
		got = p.received[i]
		p.received = slices.Delete(p.received, i, i+1)
		p.ids[message{a.Client, string(got.Body.Bytes())}] = got.Message
		return true
	}) {
		return errors.New("it has received nothing")
	}
	if string(got.Body.Bytes()) != a.Body || a.Attempts > 0 && got.Attempts != a.Attempts || got.GivenUp != a.GivenUp {
		return fmt.Errorf("it has received %q with attempts %d, given up: %t", short(got.Body), got.Attempts, got.GivenUp)
	}
	return nil
}

func (p *play) answer(ctx context.Context, a script.Answer) error {
	return p.do(ctx, goclient.Request{
		Do: "answer", Client: a.Client, Message: p.ids[message{a.Client, a.Body}], How: a.How, Delay: a.Delay.Milliseconds(),
	})
}

func (p *play) trace(ctx context.Context, a script.Trace) error {
	r := goclient.Request{Do: "wrap", Bodies: []goclient.Body{goclient.Pack([]byte(a.Given))}, Traceparent: a.Traceparent, Tracestate: a.Tracestate}
	if a.Unwrap {
		r.Do = "unwrap"
	}
	id, err := p.ask(r)
	if err != nil {
		return err
	}
	e, err := p.result(ctx, id)
	if err != nil {
		return err
	}
	if e.Body == nil {
		return fmt.Errorf("it has ended as %s: %s", e.Result, e.Text)
	}
	if got := string(e.Body.Bytes()); got != a.Result || e.Traceparent != a.GotTraceparent || e.Tracestate != a.GotTracestate {
		return fmt.Errorf("it is %q traceparent=%q tracestate=%q", got, e.Traceparent, e.Tracestate)
	}
	return nil
}
