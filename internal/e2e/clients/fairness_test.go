package clients

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"testing"
	"time"
)

const (
	manyDaemons = 20
	fairTopic   = "fair"
	// promise is how long a message of any daemon may lie at most while a Reader with
	// one credit goes around all of them. A turn is 20 ms, so it takes a fifth of it;
	// the rest is for a busy machine, and no more is allowed for that.
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
			t.Run(form, func(t *testing.T) {
				f := &fairness{T: t, client: c, qds: qds, form: form}
				t.Run("a backlog at each", func(t *testing.T) { f.backlogs(t) })
				t.Run("one is flooded", func(t *testing.T) { f.flooded(t) })
			})
		}
		t.Run("slow handler", func(t *testing.T) {
			f := &fairness{T: t, client: c, qds: qds, form: handles}
			f.slow(t)
		})
	})
}

type fairness struct {
	*testing.T
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

func (f *fairness) newReader(t *testing.T, work time.Duration) reader {
	tcp, _ := addresses(f.qds)
	return f.reader(t, readerSettings{
		Topic: fairTopic, Channel: "all", Addresses: tcp, MaxInFlight: 1, Form: f.form, Work: work.Seconds(),
	})
}

// backlogs has each daemon full of messages when the Reader begins: all of them are
// taken within the promise's time.
func (f *fairness) backlogs(t *testing.T) {
	const each = 50
	for i, w := range f.prepare(t) {
		must(t, w.publish(patience, fairTopic, numbered(f.qds[i].name, each)...))
	}
	began := time.Now()
	r := f.newReader(t, 0)
	f.judge(t, collect(t, r, each*len(f.qds)), func(d *delivery) time.Time { return began })
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
		for i, w := range writers[1:] {
			must(t, w.publish(patience, fairTopic, fmt.Appendf(nil, "sparse %d", i)))
		}
		var sparse []*delivery
		for len(sparse) < len(writers)-1 {
			if d := next(t, r); d.Address != f.qds[0].tcp {
				sparse = append(sparse, d)
			}
		}
		f.judge(t, sparse, func(d *delivery) time.Time { return time.Unix(0, d.Stamp) })
	}
	must(t, r.close())
}

// slow has a handler that takes longer than a turn: what a daemon waits between two of
// its messages is the time of all others', which is half of the promise's.
func (f *fairness) slow(t *testing.T) {
	const each, work = 4, 50 * time.Millisecond
	for i, w := range f.prepare(t) {
		must(t, w.publish(patience, fairTopic, numbered(f.qds[i].name, each)...))
	}
	last := map[string]time.Time{}
	began := time.Now()
	r := f.newReader(t, work)
	came := collect(t, r, each*len(f.qds))
	f.judge(t, came, func(d *delivery) time.Time {
		since, ok := last[d.Address]
		if !ok {
			since = began
		}
		last[d.Address] = time.Unix(0, d.Taken)
		return since
	})
	must(t, r.close())
}

// judge wants each message taken within the promise's time of since, and names the
// slowest daemon.
func (f *fairness) judge(t *testing.T, came []*delivery, since func(*delivery) time.Time) {
	t.Helper()
	waited := map[string]time.Duration{}
	for _, d := range came {
		waited[d.Address] = max(waited[d.Address], time.Unix(0, d.Taken).Sub(since(d)))
	}
	slowest := slices.MaxFunc(f.qds, func(a, b *node) int { return cmp.Compare(waited[a.tcp], waited[b.tcp]) })
	quickest := slices.MinFunc(f.qds, func(a, b *node) int { return cmp.Compare(waited[a.tcp], waited[b.tcp]) })
	if wait := waited[slowest.tcp]; wait > promise {
		t.Errorf("a message of %s waited %v, more than %v", slowest.name, wait, promise)
	} else {
		t.Logf("the longest wait was %v, at %s; the shortest %v", wait.Round(time.Millisecond), slowest.name, waited[quickest.tcp].Round(time.Millisecond))
	}
}
