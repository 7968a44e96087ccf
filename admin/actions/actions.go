// Package actions is every change that can be made from the admin: one table of what
// there is, one way in (Begin), and for each change one entry in the audit log, which
// gets each daemon's result as it comes. Roles, names and arguments are checked here
// and nowhere else, so a page, a script and nsqadmin's API cannot do different things.
//
// Nothing is repeated whose answer did not come: it may have been done, and the result
// says that this is uncertain.
package actions

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/cluster"
	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/admin/signin"
)

// Cluster is what is asked of daemons; *cluster.Cluster is one.
type Cluster interface {
	Get(ctx context.Context, address, path string, q url.Values, into any) error
	Post(ctx context.Context, address, path string, q url.Values, body []byte, into any) error
	Holders(ctx context.Context, lookupd, topic string) (all []cluster.Producer, note string, err error)
	Each(ctx context.Context, addresses []string, do func(ctx context.Context, address string) audit.Result, done func(audit.Result)) []audit.Result
	Lookupds() []string
}

// Log is where it is written down; *audit.Log is one.
type Log interface {
	Begin(audit.Entry) uint64
	Result(number uint64, r audit.Result)
	End(number uint64)
	Get(number uint64) (audit.Entry, bool)
}

// Settings of Actions. What is zero takes its default.
type Settings struct {
	ReadOnly bool // refuse everything
	MaxBody  int  // bytes of a message that is published; 1 MiB

	// Latest returns the newest snapshot, never nil. Only nodes in it, and those that
	// lookupds name for a topic, are told anything.
	Latest func() *fleet.Snapshot
	// Changed is called when something has been changed; nil is nobody. It must not block.
	Changed func()
}

const (
	defaultMaxBody = 1 << 20
	maxUnderWay    = 64 // actions at a time
)

// Actions does what is asked for. Its methods may be called by any number of goroutines.
type Actions struct {
	Settings // immutable
	cluster  Cluster
	audit    Log
	log      *slog.Logger

	// What is begun outlives the request that asked for it, and ends with Run.
	life context.Context
	stop context.CancelCauseFunc

	mu       sync.Mutex // guards what follows
	underWay int
	ended    bool
	idle     sync.WaitGroup // of the actions under way; Add only while ended is false, under mu
}

// New returns Actions that can begin at once.
func New(s Settings, c Cluster, audit Log, log *slog.Logger) *Actions {
	if s.MaxBody == 0 {
		s.MaxBody = defaultMaxBody
	}
	if s.Changed == nil {
		s.Changed = func() {}
	}
	a := &Actions{Settings: s, cluster: c, audit: audit, log: log}
	a.life, a.stop = context.WithCancelCause(context.Background())
	return a
}

var errStopping = errors.New("the admin is stopping")

// Run waits until ctx ends, ends what is under way, whose entries then say what was not
// done, and returns nil when none is left. Nothing is begun after that. The audit log
// has to outlive it.
func (a *Actions) Run(ctx context.Context) error {
	<-ctx.Done()
	a.mu.Lock()
	a.ended = true
	a.mu.Unlock()
	a.stop(errStopping)
	a.idle.Wait()
	return nil
}

// Begin checks a request and begins it; via is page or api. It returns the number of
// the audit entry, which gets the results as they come. The error is a *Refused, and
// nothing has been done.
func (a *Actions) Begin(ctx context.Context, who signin.Who, via string, r Request) (uint64, error) {
	j, err := a.begin(ctx, who, via, r)
	if err != nil {
		return 0, err
	}
	return j.number, nil
}

// Do is Begin, and waits for the end. If ctx ends before, the entry is as it is then,
// not Done, and what was begun goes on.
func (a *Actions) Do(ctx context.Context, who signin.Who, via string, r Request) (audit.Entry, error) {
	j, err := a.begin(ctx, who, via, r)
	if err != nil {
		return audit.Entry{}, err
	}
	select {
	case <-j.ended:
	case <-ctx.Done():
	}
	e, ok := a.audit.Get(j.number)
	if !ok { // pushed out by ten thousand others
		e = audit.Entry{Number: j.number, Action: r.Action}
	}
	return e, nil
}

func (a *Actions) begin(_ context.Context, who signin.Who, via string, r Request) (*job, error) {
	act, ok := Find(r.Action)
	if !ok {
		return nil, refuse(http.StatusBadRequest, "INVALID_ACTION", "there is no action %.80q", r.Action)
	}
	if refused := a.may(who, act); refused != nil {
		if len(r.Targets) > 0 {
			a.audit.Begin(a.entry(act, who, via, &r, refused.Error()))
		}
		return nil, refused
	}
	r.Targets = unique(r.Targets)
	s := a.Latest()
	if refused := checkTargets(act, &r, s); refused != nil {
		return nil, refused
	}
	if refused := a.checkArgs(act, r.Args, time.Now()); refused != nil {
		return nil, refused
	}
	if refused := a.checkState(act, &r, s); refused != nil {
		return nil, refused
	}
	if refused := a.enter(); refused != nil {
		return nil, refused
	}
	j := &job{Actions: a, act: act, request: r, who: who, snapshot: s, ended: make(chan struct{})}
	j.number = a.audit.Begin(a.entry(act, who, via, &r, ""))
	go func() {
		defer a.leave()
		j.run(a.life)
	}()
	return j, nil
}

// checkState refuses what cannot be done as things are.
func (a *Actions) checkState(act Action, r *Request, s *fleet.Snapshot) *Refused {
	if act.Name == "tombstone" && len(a.cluster.Lookupds()) == 0 {
		return refuse(http.StatusConflict, "NO_LOOKUPDS", "there are no lookupds that could hide the topic: delete it on the node")
	}
	if to := r.Args.Get("to"); act.On == OnMessages && r.Args.Has("all") {
		for _, t := range r.Targets {
			if t.Topic == to {
				return refuse(http.StatusBadRequest, "INVALID_ARGUMENT", "to must be another topic than %s, where the messages are", to)
			}
		}
	}
	if act.Name != "forget" {
		return nil
	}
	if len(a.cluster.Lookupds()) == 0 {
		return refuse(http.StatusConflict, "NO_LOOKUPDS", "there are no lookupds that could forget anything")
	}
	for _, t := range r.Targets {
		if has := holders(s, t.Topic, t.Channel); len(has) > 0 {
			return refuse(http.StatusConflict, "IN_USE", "%s is on %s: delete it, do not forget it", t, listed(has, len(has)))
		}
	}
	return nil
}

// enter counts an action as under way, unless there are too many.
func (a *Actions) enter() *Refused {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.ended:
		return refuse(http.StatusServiceUnavailable, "STOPPING", "the admin is stopping: nothing is begun any more")
	case a.underWay == maxUnderWay:
		return refuse(http.StatusServiceUnavailable, "BUSY", "%d actions are under way: wait for one to end", maxUnderWay)
	}
	a.underWay++
	a.idle.Add(1)
	return nil
}

func (a *Actions) leave() {
	a.mu.Lock()
	a.underWay--
	a.mu.Unlock()
	a.idle.Done()
}

// entry is what the log says of a request.
func (a *Actions) entry(act Action, who signin.Who, via string, r *Request, refused string) audit.Entry {
	e := audit.Entry{
		At: time.Now(), Who: who.Name, Role: who.Role.String(), How: who.How, From: who.Remote, UserAgent: who.UserAgent,
		Via: via, Action: act.Name, Detail: detail(act, r), URL: r.URL, Refused: refused,
	}
	// What all targets share is what it is about.
	e.Topic, e.Channel, e.Node = r.Targets[0].Topic, r.Targets[0].Channel, r.Targets[0].Node
	for _, t := range r.Targets[1:] {
		if t.Topic != e.Topic {
			e.Topic = ""
		}
		if t.Channel != e.Channel {
			e.Channel = ""
		}
		if t.Node != e.Node {
			e.Node = ""
		}
	}
	return e
}

// unique returns the targets in their order, each once.
func unique(targets []Target) []Target {
	seen := make(map[Target]bool, len(targets))
	var all []Target
	for _, t := range targets {
		if !seen[t] {
			seen[t] = true
			all = append(all, t)
		}
	}
	return all
}
