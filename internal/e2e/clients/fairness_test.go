package clients

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	manyDaemons = 20
	fairTopic   = "fair"
	fairEach    = 50 // messages of a daemon
	// promise is how long a message of any daemon may lie at most while a Reader with
	// one credit goes around all of them.
	promise = 2 * time.Second
)

// With 20 daemons and one message in flight, none starves.
func TestFairness(t *testing.T) {
	var qds []*node
	for i := range manyDaemons {
		// A small one: it keeps few files open, and has no more memory than it needs.
		qds = append(qds, newQD(t, fmt.Sprintf("q%02d", i+1), nil))
	}
	startAll(t, qds...)
	everyClient(t, func(t *testing.T, c client) {
		for _, form := range forms {
			f := &fairness{client: c, qds: qds, form: form}
			t.Run("a backlog at each, "+form, f.backlogs)
			if form == handles {
				t.Run("one is flooded", f.flooded)
				t.Run("a slow handler", f.slow)
			}
		}
	})
}

type fairness struct {
	client
	qds  []*node
	form string
}

// prepare makes the topic anew, and a Writer for each daemon.
func (f *fairness) prepare(t *testing.T) (writers []writer) {
	for _, q := range f.qds {
		_ = q.ask("POST", "/topic/delete?topic="+fairTopic, nil) // the first time there is none
		q.createTopic(t, fairTopic, "all")
		writers = append(writers, goClient{}.writer(t, writerSettings{Addresses: []string{q.tcp}}))
	}
	return writers
}

// newReader runs a Reader with one credit for the daemons.
func (f *fairness) newReader(t *testing.T, work time.Duration) reader {
	tcp, _ := addresses(f.qds)
	return f.reader(t, readerSettings{
		Topic: fairTopic, Channel: "all", Addresses: tcp, MaxInFlight: 1, Form: f.form, Work: work.Seconds(),
	})
}

// backlogs has each daemon full of messages when the Reader begins: all of them are
// taken within the promise's time.
func (f *fairness) backlogs(t *testing.T) {
	for i, w := range f.prepare(t) {
		must(t, w.publish(patience, fairTopic, numbered(f.qds[i].name, fairEach)...))
	}
	began, load := time.Now(), f.load(t)
	r := f.newReader(t, 0)
	f.judge(t, load, collect(t, r, fairEach*len(f.qds)), func(d *delivery) time.Time { return began })
	must(t, r.close())
}

// flooded has one daemon with more than is ever taken, and publishes to the others
// now and then: each of those messages is taken within the promise's time.
func (f *fairness) flooded(t *testing.T) {
	const rounds = 5
	writers := f.prepare(t)
	r := f.newReader(t, 0)
	flood := numbered("flood", 1000)
	ctx, cancel := context.WithCancel(context.Background())
	flooding := make(chan struct{})
	go func() {
		defer close(flooding)
		for ctx.Err() == nil {
			_ = writers[0].publish(patience, fairTopic, flood...)
			pause(ctx, 20*time.Millisecond)
		}
	}()
	defer func() { cancel(); <-flooding }()
	must(t, writers[1].publish(patience, fairTopic, []byte("begin")))
	for next(t, r).Address != f.qds[1].tcp { // every daemon is connected to, or will be soon
	}
	for range rounds {
		load := f.load(t)
		for i, w := range writers[1:] {
			must(t, w.publish(patience, fairTopic, fmt.Appendf(nil, "sparse %d", i)))
		}
		var sparse []*delivery
		for len(sparse) < len(writers)-1 {
			if d := next(t, r); d.Address != f.qds[0].tcp {
				sparse = append(sparse, d)
			}
		}
		f.judge(t, load, sparse, func(d *delivery) time.Time { return time.Unix(0, d.Stamp) })
	}
	must(t, r.close())
}

// slow has a handler that takes longer than a turn: what a daemon waits between two of
// its messages is the time of the others', one or two of each.
func (f *fairness) slow(t *testing.T) {
	const each, work = 5, 25 * time.Millisecond
	for i, w := range f.prepare(t) {
		must(t, w.publish(patience, fairTopic, numbered(f.qds[i].name, each)...))
	}
	last := map[string]time.Time{}
	began, load := time.Now(), f.load(t)
	r := f.newReader(t, work)
	f.judge(t, load, collect(t, r, each*len(f.qds)), func(d *delivery) time.Time {
		since, ok := last[d.Address]
		if !ok {
			since = began
		}
		last[d.Address] = time.Unix(0, d.Taken)
		return since
	})
	must(t, r.close())
}

// load is for how long the client and the daemons have been ready to run and had no
// processor, so far; 0 where the kernel does not count it.
func (f *fairness) load(t *testing.T) (waited time.Duration) {
	t.Helper()
	pids := []string{f.pid()}
	for _, q := range f.qds {
		pids = append(pids, q.pid())
	}
	for _, pid := range pids {
		threads, err := filepath.Glob(filepath.Join("/proc", pid, "task", "*", "schedstat"))
		must(t, err)
		for _, file := range threads {
			text, _ := os.ReadFile(file) // a thread may have ended
			if f := strings.Fields(string(text)); len(f) == 3 {
				ns, _ := strconv.ParseInt(f[1], 10, 64)
				waited += time.Duration(ns)
			}
		}
	}
	return waited
}

// judge wants each message taken within the promise's time of since, and names the
// slowest daemon. On a machine that is busy with something else, what the kernel has
// kept the client and the daemons waiting for since load was taken is allowed as well:
// with one message in flight they work one after the other, so their waiting adds up.
// On a quiet one that is some milliseconds.
func (f *fairness) judge(t *testing.T, load time.Duration, came []*delivery, since func(*delivery) time.Time) {
	t.Helper()
	load = f.load(t) - load
	waited := map[string]time.Duration{}
	for _, d := range came {
		waited[d.Address] = max(waited[d.Address], time.Unix(0, d.Taken).Sub(since(d)))
	}
	slowest := slices.MaxFunc(f.qds, func(a, b *node) int { return cmp.Compare(waited[a.tcp], waited[b.tcp]) })
	quickest := slices.MinFunc(f.qds, func(a, b *node) int { return cmp.Compare(waited[a.tcp], waited[b.tcp]) })
	wait := waited[slowest.tcp]
	if wait > promise+load {
		t.Errorf("a message of %s waited %v, more than %v and the %v that there was no processor", slowest.name, wait, promise, load)
		return
	}
	t.Logf("the longest wait was %v, at %s; the shortest %v; there was no processor for %v",
		wait.Round(time.Millisecond), slowest.name, waited[quickest.tcp].Round(time.Millisecond), load.Round(time.Millisecond))
}
