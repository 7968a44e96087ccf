package audit_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/internal/logtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a log that runs.
type rig struct {
	*audit.Log
	t    *testing.T
	said logtest.Lines // its log lines
	stop func()
}

func start(t *testing.T, s audit.Settings) *rig {
	t.Helper()
	r := &rig{t: t}
	l, err := audit.New(s, slog.New(slog.NewTextHandler(&r.said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	r.Log = l
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

// act logs an action that has come to its end.
func (r *rig) act(e audit.Entry, results ...audit.Result) uint64 {
	number := r.Begin(e)
	for _, result := range results {
		r.Result(number, result)
	}
	r.End(number)
	return number
}

func numbers(entries []audit.Entry) (all []uint64) {
	for _, e := range entries {
		all = append(all, e.Number)
	}
	return all
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestAnEntryFromBeginToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, audit.Settings{})
		defer r.stop()
		any := r.Changed(0)
		number := r.Begin(audit.Entry{Who: "anna", Action: "pause-topic", Topic: "orders"})
		if !closed(any) {
			t.Error("who waits for anything is not woken by a new entry")
		}
		before, _ := r.Get(number)
		if before.At.IsZero() || before.Done || len(before.Results) != 0 {
			t.Errorf("begun: %+v", before)
		}
		for i := range 3 {
			changed := r.Changed(number)
			if closed(changed) {
				t.Fatal("woken for nothing")
			}
			r.Result(number, audit.Result{Node: fmt.Sprint("n", i), OK: i != 1})
			if !closed(changed) {
				t.Errorf("result %d wakes nobody", i)
			}
		}
		changed := r.Changed(number)
		r.End(number)
		if !closed(changed) {
			t.Error("the end wakes nobody")
		}
		r.Result(number, audit.Result{Node: "late"})
		after, ok := r.Get(number)
		if !ok || !after.Done || len(after.Results) != 3 || after.Results[1].OK {
			t.Errorf("ended: %+v", after)
		}
		if len(before.Results) != 0 || before.Done {
			t.Error("an entry that was handed out has changed")
		}
		if r.Changed(number) != nil || r.Changed(99) != nil {
			t.Error("what cannot change any more can be waited for")
		}
		if _, ok := r.Get(99); ok {
			t.Error("there is an entry 99")
		}
	})
}

// What the callers of Get append is theirs.
func TestEntriesAreIndependent(t *testing.T) {
	r := start(t, audit.Settings{})
	number := r.Begin(audit.Entry{})
	for i := range 5 {
		r.Result(number, audit.Result{Node: fmt.Sprint("real", i)})
	}
	e, _ := r.Get(number)
	listed := r.List(audit.Filter{})[0]
	r.Result(number, audit.Result{Node: "sixth"})
	_ = append(e.Results, audit.Result{Node: "forged"})
	_ = append(listed.Results, audit.Result{Node: "forged"})
	if e, _ = r.Get(number); e.Results[5].Node != "sixth" {
		t.Errorf("the sixth result is %q", e.Results[5].Node)
	}
}

// A node that tells how far it is has one result, its last; who has looked before keeps
// what he saw.
func TestProgress(t *testing.T) {
	r := start(t, audit.Settings{})
	number := r.Begin(audit.Entry{})
	r.Result(number, audit.Result{Node: "a", Note: "so far"})
	r.Result(number, audit.Result{Node: "b", OK: true})
	before, _ := r.Get(number)
	r.Result(number, audit.Result{Node: "a", OK: true, Count: 7})
	after, _ := r.Get(number)
	if len(after.Results) != 2 || after.Results[0].Count != 7 || after.Results[1].Node != "b" {
		t.Errorf("the results are %+v", after.Results)
	}
	if before.Results[0].Note != "so far" {
		t.Errorf("what was seen before has become %+v", before.Results[0])
	}
}

func TestList(t *testing.T) {
	r := start(t, audit.Settings{})
	r.act(audit.Entry{Who: "anna", Action: "pause-topic", Topic: "orders", Detail: "Reason: Deploy"})
	r.act(audit.Entry{Who: "bert", Action: "delete-topic", Topic: "orders"}, audit.Result{Node: "q1:4151", Error: "no such topic"})
	r.act(audit.Entry{Who: "anna", Action: "delete-topic", Topic: "bills"})
	r.Begin(audit.Entry{Who: "carl", Action: "delete-topic", Topic: "bills", Refused: "carl is a viewer"})
	for _, tt := range []struct {
		filter audit.Filter
		want   []uint64
	}{
		{audit.Filter{}, []uint64{4, 3, 2, 1}},
		{audit.Filter{Limit: 2}, []uint64{4, 3}},
		{audit.Filter{Limit: 2, Before: 3}, []uint64{2, 1}},
		{audit.Filter{Before: 1}, nil},
		{audit.Filter{Who: "anna"}, []uint64{3, 1}},
		{audit.Filter{Who: "Anna"}, nil},
		{audit.Filter{Action: "delete-topic", Topic: "orders"}, []uint64{2}},
		{audit.Filter{Text: "dePLOY"}, []uint64{1}},
		{audit.Filter{Text: "q1:4151"}, []uint64{2}},
		{audit.Filter{Text: "such topic"}, []uint64{2}},
		{audit.Filter{Text: "viewer"}, []uint64{4}},
		{audit.Filter{Text: "nothing of the kind"}, nil},
	} {
		if got := numbers(r.List(tt.filter)); !slices.Equal(got, tt.want) {
			t.Errorf("%+v: %v, want %v", tt.filter, got, tt.want)
		}
	}
}

func TestKeep(t *testing.T) {
	r := start(t, audit.Settings{Keep: 10})
	open := r.Begin(audit.Entry{Action: "drain-node"})
	for range 20 {
		r.act(audit.Entry{Action: "pause-topic"})
	}
	if _, ok := r.Get(open); !ok {
		t.Error("an entry that has not ended was dropped")
	}
	if got := numbers(r.List(audit.Filter{})); len(got) != 10 || got[0] != 21 {
		t.Errorf("kept are %v", got)
	}
	// Whoever is refused a thousand times pushes out half at most.
	for range 1000 {
		r.Begin(audit.Entry{Action: "delete-topic", Refused: "no"})
	}
	all := r.List(audit.Filter{})
	if done := slices.DeleteFunc(slices.Clone(all), func(e audit.Entry) bool { return e.Refused != "" }); len(all) != 10 || len(done) != 5 {
		t.Errorf("of %d kept %d were done", len(all), len(done))
	}
}

// However long the texts and however many the results: memory has its bounds.
func TestBounds(t *testing.T) {
	r := start(t, audit.Settings{})
	long := strings.Repeat("x", 1<<20)
	number := r.act(audit.Entry{Who: long, UserAgent: long, URL: long, Detail: long, Action: long},
		audit.Result{Node: long, Error: long, Note: long})
	e, _ := r.Get(number)
	if n := len(e.Who) + len(e.UserAgent) + len(e.URL) + len(e.Detail) + len(e.Action) + len(e.Results[0].Error); n > 20<<10 {
		t.Errorf("the entry takes %d bytes", n)
	}
	for range 100 {
		number = r.Begin(audit.Entry{Action: "pause-node"})
		for i := range 1000 {
			r.Result(number, audit.Result{Node: fmt.Sprint("n", i), Error: long[:1000]})
		}
		r.End(number)
	}
	if n := len(r.List(audit.Filter{})); n < 10 || n > 40 {
		t.Errorf("%d entries of a MiB are kept", n)
	}
}

func TestSettings(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		settings audit.Settings
		want     string
	}{
		{audit.Settings{Keep: -1}, "audit-keep -1"},
		{audit.Settings{File: dir}, "is a folder"},
		{audit.Settings{File: filepath.Join(dir, "no", "such", "folder")}, "cannot be opened"},
		{audit.Settings{Webhook: "ftp://host/"}, "must be a URL"},
		{audit.Settings{Webhook: "host:80/secret"}, "must be a URL"},
		{audit.Settings{Webhook: "https://"}, "must be a URL"},
	} {
		_, err := audit.New(tt.settings, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: %v, want %q", tt.settings, err, tt.want)
		}
	}
}

// Many at once, for the race detector, and so that numbers are given once.
func TestAtOnce(t *testing.T) {
	r := start(t, audit.Settings{File: filepath.Join(t.TempDir(), "audit"), Keep: 50})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				number := r.Begin(audit.Entry{Action: "pause-topic"})
				changed := r.Changed(number)
				r.Result(number, audit.Result{Node: "a"})
				<-changed
				r.Get(number)
				r.End(number)
				r.List(audit.Filter{Text: "pause", Limit: 5})
			}
		})
	}
	wg.Wait()
	if e := r.List(audit.Filter{Limit: 1})[0]; e.Number != 800 {
		t.Errorf("the last of 800 is %d", e.Number)
	}
}

func TestAtIsKept(t *testing.T) {
	r := start(t, audit.Settings{})
	at := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	if e, _ := r.Get(r.Begin(audit.Entry{At: at})); !e.At.Equal(at) {
		t.Errorf("at %v", e.At)
	}
}
