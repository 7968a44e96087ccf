package actions

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/cluster"
	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/admin/signin"
)

// job is an action under way.
type job struct {
	*Actions
	act      Action
	request  Request
	who      signin.Who
	snapshot *fleet.Snapshot
	number   uint64        // of the audit entry
	ended    chan struct{} // closed when the entry has ended

	mu     sync.Mutex       // guards what follows; never held while a daemon is asked
	done   map[int]bool     // targets that somebody has done it to, by their place
	counts map[string]int64 // messages that it was done to so far, by address
}

// call is what one daemon is asked to do for one target.
type call struct {
	target int // its place in the request
	do     func(ctx context.Context, address string) outcome
}

// outcome is what became of a call.
type outcome struct {
	done   bool
	absent bool   // there is nothing there that it could be done to
	mute   bool   // the daemon did not answer
	count  int64  // messages
	text   string // why it was not done; or a note if it was
	node   string // that did it in place of the one that the call is for; empty: none
}

// phase is calls that are made at the same time; each daemon's own some at a time.
type phase struct {
	calls map[string][]call // by address
}

const (
	perDaemon    = 4 // calls to one daemon at a time
	patience     = 3 // calls without an answer, one after the other, until a daemon is given up
	slow         = 30 * time.Second
	progressStep = 1000 // calls between two notes of progress
)

func (j *job) run(ctx context.Context) {
	defer close(j.ended)
	defer j.audit.End(j.number)
	defer j.Changed()
	ctx = cluster.For(ctx, j.who.Name)
	j.done, j.counts = make(map[int]bool), make(map[string]int64)
	phases, missing := plan(ctx, j)
	var tallies, last []*tally
	for _, p := range phases {
		last = j.runPhase(ctx, p)
		tallies = append(tallies, last...)
	}
	j.lookBack(ctx, last) // nodes come last
	for _, t := range tallies {
		if len(t.absent) > 0 { // whether that was wrong is known now
			j.audit.Result(j.number, t.result(j))
		}
	}
	j.report(missing)
}

// missing is what nothing was done for, since no daemon is concerned.
type missing struct {
	names []string
	why   string // behind the names
}

func (j *job) report(m missing) {
	if len(m.names) > 0 {
		j.audit.Result(j.number, audit.Result{Error: listed(m.names, len(m.names)) + ": " + m.why})
	}
}

// runPhase makes the calls of a phase, and tells results as they come, but for those
// of daemons that had nothing to do it to.
func (j *job) runPhase(ctx context.Context, p phase) []*tally {
	addresses := sorted(p.calls)
	tallies := make(map[string]*tally, len(addresses))
	for _, address := range addresses {
		tallies[address] = &tally{address: address, calls: len(p.calls[address])}
	}
	j.cluster.Each(ctx, addresses, func(ctx context.Context, address string) audit.Result {
		t := tallies[address]
		t.make(ctx, j, p.calls[address])
		return t.result(j)
	}, func(r audit.Result) {
		if t := tallies[r.Node]; t == nil || len(t.absent) == 0 {
			j.audit.Result(j.number, r)
		}
	})
	all := make([]*tally, 0, len(addresses))
	for _, address := range addresses {
		all = append(all, tallies[address])
	}
	return all
}

// did notes that a target has been done somewhere.
func (j *job) did(target int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.done[target] = true
}

// addCount adds to how many messages a daemon has done it, and returns how many those are.
func (j *job) addCount(address string, more int64) int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.counts[address] += more
	return j.counts[address]
}

func (j *job) anywhere(target int) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.done[target]
}

// tally is what became of all calls to one daemon.
type tally struct {
	address string
	calls   int

	mu     sync.Mutex // guards what follows while calls are made
	made   int
	did    int
	count  int64
	mutes  int // without an answer, since the last that had one
	absent []lack
	failed []string // the first of them, with why
	fails  int
	note   string // of the last that had one
}

// lack is a target that a daemon does not have.
type lack struct {
	target int
	why    string
}

// make makes the calls, some at a time.
func (t *tally) make(ctx context.Context, j *job, calls []call) {
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(j.atATime(), len(calls)) {
		workers.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(calls) || ctx.Err() != nil || t.givenUp() {
					return
				}
				t.add(j, calls[i].target, calls[i].do(ctx, t.address))
			}
		})
	}
	workers.Wait()
}

// atATime is how many calls a daemon is to have at a time. It copies for one alone.
func (j *job) atATime() int {
	if j.act.Name == "copy" || j.act.Name == "move" {
		return 1
	}
	return perDaemon
}

func (t *tally) givenUp() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mutes >= patience
}

func (t *tally) add(j *job, target int, o outcome) {
	if o.done {
		j.did(target)
	}
	t.mu.Lock()
	t.made++
	t.count += o.count
	if o.node != "" && t.calls == 1 {
		t.address = o.node
	}
	if t.mutes++; !o.mute {
		t.mutes = 0
	}
	switch {
	case o.done:
		t.did++
		if o.text != "" {
			t.note = o.text
		}
	case o.absent:
		t.absent = append(t.absent, lack{target, o.text})
	default:
		t.fail(j, target, o.text)
	}
	made := t.made
	t.mu.Unlock()
	if made%progressStep == 0 && made < t.calls {
		j.progress(audit.Result{Node: t.address, OK: true, Note: fmt.Sprintf("so far %s of %s", number(made), number(t.calls))})
	}
}

// fail needs mu, or to be the only one left.
func (t *tally) fail(j *job, target int, why string) {
	t.fails++
	if len(t.failed) >= maxNamed {
		return
	}
	if len(j.request.Targets) > 1 {
		why = j.request.Targets[target].String() + ": " + why
	}
	t.failed = append(t.failed, why)
}

// progress notes how far a daemon is. The log keeps a daemon's last result alone.
func (j *job) progress(r audit.Result) { j.audit.Result(j.number, r) }

// result sums up. It is called when all calls have been made; again, at the end of
// the action, if something was absent: that is no failure if another daemon had it.
func (t *tally) result(j *job) audit.Result {
	r := audit.Result{Node: t.address, Count: t.count}
	fails, failed := t.fails, t.failed
	if left := t.calls - t.made; left > 0 {
		fails += left
	}
	notes := []string{}
	if t.calls > 1 {
		notes = append(notes, fmt.Sprintf("%s of %s done", number(t.did), number(t.calls)))
	}
	without := 0
	sum := tally{failed: failed, fails: fails}
	for _, l := range t.absent {
		if j.anywhere(l.target) {
			without++
		} else {
			sum.fail(j, l.target, l.why)
		}
	}
	switch {
	case without > 0 && t.calls == 1:
		notes = append(notes, "nothing to do: "+t.absent[0].why)
	case without > 0:
		notes = append(notes, fmt.Sprintf("%s not there", number(without)))
	}
	if t.note != "" {
		notes = append(notes, t.note)
	}
	r.Note = strings.Join(notes, "; ")
	r.OK = sum.fails == 0
	r.Error = t.sentence(&sum)
	return r
}

// sentence says what failed, in a bounded number of words.
func (t *tally) sentence(sum *tally) string {
	if sum.fails == 0 {
		return ""
	}
	left := t.calls - t.made
	var parts []string
	if left > 0 {
		why := errStopping.Error()
		if t.mutes >= patience {
			why = fmt.Sprintf("given up after %d without an answer", patience)
		}
		parts = append(parts, fmt.Sprintf("%s not done: %s", number(left), why))
	}
	if n := sum.fails - left; n > 0 && t.calls > 1 {
		parts = append(parts, fmt.Sprintf("%s failed: %s", number(n), strings.Join(sum.failed, "; ")))
	} else if n > 0 {
		parts = append(parts, sum.failed[0])
	}
	if more := sum.fails - left - len(sum.failed); more > 0 {
		parts = append(parts, fmt.Sprintf("and %s more", number(more)))
	}
	return strings.Join(parts, "; ")
}

// judge makes an outcome of an error.
func (j *job) judge(ctx context.Context, address string, err error) outcome {
	if err == nil {
		return outcome{done: true}
	}
	if r, ok := errors.AsType[*cluster.Refusal](err); ok {
		return j.refusedBy(address, r)
	}
	if cluster.Unsent(err) {
		return outcome{mute: true, text: "it cannot be reached, nothing was done: " + cluster.Reason(err)}
	}
	why := cluster.Reason(err)
	if ctx.Err() != nil {
		why = context.Cause(ctx).Error()
	}
	return outcome{mute: true, text: "uncertain: it may have been done or not (" + why + "); look before you do it again"}
}

// absences are what daemons answer that do not have something.
var absences = map[string]string{
	"TOPIC_NOT_FOUND": "it has no such topic", "CHANNEL_NOT_FOUND": "it has no such channel",
	"MESSAGE_NOT_FOUND": "it has no such message, or not in a state for it", "CLIENT_NOT_FOUND": "it has no such connection: it has gone",
}

func (j *job) refusedBy(address string, r *cluster.Refusal) outcome {
	if why := absences[r.Code]; why != "" {
		return outcome{absent: true, text: why}
	}
	unknown := r.Status == http.StatusMethodNotAllowed || r.Status == http.StatusNotFound && (r.Code == "NOT_FOUND" || r.Code == "")
	if !unknown || j.act.cannot == "" {
		return outcome{text: r.Error()}
	}
	kind := "an nsqd"
	if n := nodeAt(j.snapshot, address); n != nil && n.Millrace {
		kind = "a qd too old for it"
	}
	return outcome{text: "this node is " + kind + " and cannot " + j.act.cannot}
}

// reason says why a daemon did not answer as it should, where it is named already.
func reason(err error) string { return cluster.Reason(err) }

// movesOn reports whether another daemon may be asked for the same: this one has said
// that it did not do it, because of itself, or was never reached.
func movesOn(err error) bool {
	if r, ok := errors.AsType[*cluster.Refusal](err); ok {
		return r.Status == http.StatusServiceUnavailable || r.Status == http.StatusTooManyRequests
	}
	return cluster.Unsent(err)
}
