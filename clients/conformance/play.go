package conformance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/millrace-mq/millrace/clients/conformance/fake"
	"github.com/millrace-mq/millrace/clients/conformance/goclient"
	"github.com/millrace-mq/millrace/clients/conformance/script"
)

// patience is how long a step waits for what it expects. It only ends scenarios
// that fail.
const patience = 20 * time.Second

// play is one scenario with one adapter.
type play struct {
	world    *fake.World
	process  *process
	daemons  map[string]*fake.Daemon
	lookupds map[string]*fake.Lookupd
	folder   string   // for what clients keep on disk
	clients  []string // opened, in their order
	asked    map[question]int
	lastID   int

	// Guarded by the world.
	accepted map[int]bool
	results  map[int]goclient.Event
	received []goclient.Event // that no step has expected yet
	trouble  []goclient.Event // what clients have said of themselves
	ids      map[message]string
}

// question is what a client was asked for: to publish Body, or a method.
type question struct{ client, body, method string }

// message is one that a client's user has.
type message struct{ client, body string }

// Play plays a scenario; folder is an empty one for what clients keep. Its error says which line has failed, why, and what has
// happened until then.
func Play(s script.Scenario, a *Adapter, folder string) error {
	p := &play{
		folder: folder,
		world:  fake.NewWorld(), daemons: map[string]*fake.Daemon{}, lookupds: map[string]*fake.Lookupd{},
		asked: map[question]int{}, accepted: map[int]bool{}, results: map[int]goclient.Event{}, ids: map[message]string{},
	}
	process, err := a.take(p.hear)
	if err != nil {
		return err
	}
	p.process = process
	err = p.begin()
	if err == nil {
		err = p.steps(s)
	}
	for _, d := range p.daemons {
		d.Stop()
	}
	for _, l := range p.lookupds {
		l.Stop()
	}
	if err == nil {
		p.world.Join()
		a.giveBack(process)
		return nil
	}
	process.kill()
	p.world.Join()
	return fmt.Errorf("%w\n\nWhat has happened:\n%s\n%s", err, p.world.Account(), process.stderr())
}

// begin waits until the adapter answers: starting a process takes its time on a
// busy machine, and is none of the client's.
func (p *play) begin() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return p.do(ctx, goclient.Request{Do: "rest"})
}

func (p *play) steps(s script.Scenario) error {
	for _, step := range s.Steps {
		if err := p.cast(step.Act); err != nil {
			return err
		}
	}
	for _, step := range s.Steps {
		p.world.Note("-- line %d: %s", step.Line, step.Text)
		if err := p.step(step.Act); err != nil {
			return fmt.Errorf("line %d: %s: %w", step.Line, step.Text, err)
		}
	}
	return p.audit()
}

// hear takes note of what the client's side says.
func (p *play) hear(e goclient.Event) {
	p.world.Do(func(note func(string, ...any)) {
		switch {
		case e.Result == "accepted":
			note("%s accepted", p.describe(e.ID))
			p.accepted[e.ID] = true
		case e.ID != 0:
			note("%s %s %.300s", p.describe(e.ID), e.Result, e.Text)
			if _, told := p.results[e.ID]; told {
				p.trouble = append(p.trouble, goclient.Event{Client: p.describe(e.ID), Text: "told twice"})
			}
			p.results[e.ID] = e
		case e.Message != "":
			note("%s receives %q, message %s, attempts %d", e.Client, short(e.Body), e.Message, e.Attempts)
			p.received = append(p.received, e)
		default:
			note("%s: %s", e.Client, e.Text)
			p.trouble = append(p.trouble, e)
		}
	})
}

func short(b *goclient.Body) string {
	if b.Times > 1 {
		return fmt.Sprintf("%s… (%d bytes)", b.Of, b.Times)
	}
	return string(b.Of)
}

func (p *play) describe(id int) string {
	for q, n := range p.asked {
		if n == id {
			return fmt.Sprintf("%s %s%.40q ->", q.client, q.method, q.body)
		}
	}
	return "->"
}

// cast starts the fakes that a step names.
func (p *play) cast(act script.Act) error {
	var err error
	daemon := func(names ...string) {
		for _, name := range names {
			if err == nil && script.IsDaemon(name) && name != "it" && name != "other" && p.daemons[name] == nil {
				p.daemons[name], err = p.world.NewDaemon(name)
			}
		}
	}
	lookupd := func(name string) {
		if err == nil && p.lookupds[name] == nil {
			p.lookupds[name], err = p.world.NewLookupd(name)
		}
	}
	switch a := act.(type) {
	case script.Open:
		daemon(named(a.Settings, "addresses")...)
		for _, name := range named(a.Settings, "lookupds") {
			lookupd(name)
		}
	case script.Accept:
		daemon(a.Daemon)
	case script.Expect:
		daemon(a.Daemons...)
	case script.Power:
		if script.IsDaemon(a.Fake) {
			daemon(a.Fake)
		} else {
			lookupd(a.Fake)
		}
	case script.Lookup:
		lookupd(a.Lookupd)
		for _, listed := range a.Daemons {
			daemon(listed.Daemon)
		}
	}
	return err
}

// step does what one line says.
func (p *play) step(act script.Act) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	switch a := act.(type) {
	case script.Wait:
		time.Sleep(a.For)
		return nil
	case script.Open, script.Publish, script.Call, script.Told, script.Accepts, script.LetGo, script.Receives, script.Answer, script.Trace:
		return p.client(ctx, a)
	case script.Lookup:
		p.lookupds[a.Lookupd].Change(a)
		return nil
	case script.Asked:
		return p.lookupds[a.Lookupd].ExpectAsked(ctx, a.For)
	case script.Power:
		return p.power(ctx, a)
	case script.Expect:
		return p.expect(ctx, a)
	case script.ExpectStored:
		return p.world.ExpectStored(ctx, p.of(a.Daemons), a.Bodies)
	}
	return p.daemon(ctx, act)
}

func (p *play) power(ctx context.Context, a script.Power) error {
	d, l := p.daemons[a.Fake], p.lookupds[a.Fake]
	switch {
	case d != nil && a.On:
		return d.Start(ctx)
	case d != nil:
		d.Stop()
	case a.On:
		return l.Start(ctx)
	default:
		l.Stop()
	}
	return nil
}

func (p *play) of(names []string) (list []*fake.Daemon) {
	for _, name := range names {
		list = append(list, p.daemons[name])
	}
	return list
}

// expect also names the daemon, of several, to which a command has come.
func (p *play) expect(ctx context.Context, a script.Expect) error {
	list := p.of(a.Daemons)
	from, err := p.world.Expect(ctx, list, a.Want)
	if err == nil && len(list) == 2 {
		p.daemons["it"], p.daemons["other"] = from, list[0]
		if from == list[0] {
			p.daemons["other"] = list[1]
		}
	}
	return err
}

// daemon does what concerns one daemon.
func (p *play) daemon(ctx context.Context, act script.Act) error {
	switch a := act.(type) {
	case script.Accept:
		return p.accept(ctx, a)
	case script.ExpectEnd:
		return p.daemons[a.Daemon].ExpectEnd(ctx)
	case script.ExpectNothing:
		if a.Nobody {
			return p.daemons[a.Daemon].ExpectNobody(ctx, a.For)
		}
		return p.daemons[a.Daemon].ExpectNothing(ctx, a.For)
	case script.Say:
		if a.ToAll {
			return p.daemons[a.Daemon].SayOKToAll(ctx)
		}
		return p.daemons[a.Daemon].Say(ctx, a)
	case script.Break:
		return p.daemons[a.Daemon].Break(ctx, a.Reset)
	}
	return fmt.Errorf("nobody does %T", act)
}

func (p *play) accept(ctx context.Context, a script.Accept) error {
	d := p.daemons[a.Daemon]
	if a.Always {
		d.Welcome(fake.Plan{
			Changes: a.Changes, Sub: true, Serves: a.Serves, Limit: a.Limit, Refuses: a.Refuses, Refusal: a.Refusal, Says: a.Says,
		})
		return nil
	}
	return d.Accept(ctx, fake.Plan{Silently: a.Silently, Deafly: a.Deafly, Changes: a.Changes}, a.Sub)
}

// audit closes what is open and sees that nothing is left over.
func (p *play) audit() error {
	var daemons []*fake.Daemon
	for name, d := range p.daemons {
		if name != "it" && name != "other" {
			daemons = append(daemons, d)
		}
	}
	p.world.Note("-- the audit")
	p.world.Ease(daemons)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var errs []error
	for _, c := range p.clients {
		if _, closed := p.asked[question{client: c, method: "close"}]; closed {
			continue
		}
		id, err := p.ask(goclient.Request{Do: "close", Client: c})
		errs = append(errs, err, p.expectResult(ctx, id, script.Result{Kind: "ok"}))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("closing what is open: %w", err)
	}
	if err := p.world.ExpectParted(ctx, daemons); err != nil {
		return fmt.Errorf("when all was closed: %w", err)
	}
	id, err := p.ask(goclient.Request{Do: "rest"})
	if err == nil {
		err = p.expectResult(ctx, id, script.Result{Kind: "ok"})
	}
	if said := p.process.stderr(); said != "" {
		err = errors.Join(err, fmt.Errorf("the client has complained:\n%s", said))
	}
	return errors.Join(err, p.unasked())
}

// unasked says what clients have said that no step has asked for.
func (p *play) unasked() error {
	var errs []error
	p.world.Do(func(func(string, ...any)) {
		for _, e := range p.received {
			errs = append(errs, fmt.Errorf("nobody expected that %s receives %q", e.Client, short(e.Body)))
		}
		for _, e := range p.trouble {
			errs = append(errs, fmt.Errorf("%s has said: %s", e.Client, e.Text))
		}
		for q := range p.asked {
			errs = append(errs, fmt.Errorf("nobody has asked what came of %s %s%.40q", q.client, q.method, q.body))
		}
	})
	return errors.Join(errs...)
}
