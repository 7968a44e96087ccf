package broker

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/qd/disk"
	"github.com/millrace-mq/millrace/qd/disk/disktest"
	"github.com/millrace-mq/millrace/qd/queue"
)

// world is a broker on a disk in memory that may fail, with its ledger. It lives
// in a synctest bubble. What fails is retried by whoever uses it.
type world struct {
	ledger
	t       *testing.T
	level   Level
	path    string
	disk    *disktest.Disk
	fs      disk.FS  // by which the broker sees it, if not nil
	live    *running // nil when it could not be opened
	holding []*client
	minFree int64
}

func seeded(n int) *rand.Rand { return rand.New(rand.NewPCG(uint64(n), 11)) }

// newWorld has a disk on which nothing was done yet.
func newWorld(t *testing.T, path string, level Level) *world {
	w := &world{t: t, level: level, path: path, disk: disktest.New()}
	if err := w.disk.MkdirAll(path); err != nil {
		t.Fatal(err)
	}
	for dir := path; len(dir) > 1; { // only what is in it can fail
		i := len(dir) - 1
		for dir[i] != '/' {
			i--
		}
		dir = dir[:max(i, 1)]
		if err := w.disk.SyncDir(dir); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { // after a test that failed, or the bubble would not end
		if w.live != nil {
			_ = w.live.stop()
		}
	})
	return w
}

// settings of a world: segments of a few messages, blocks that do not stay.
func (w *world) settings(s *Settings) {
	s.Durability, s.SegmentBytes, s.MemoryMessages, s.SyncTimeout = w.level, 3<<10, 8, 5*time.Second
	s.MinFree = w.minFree
}

func (w *world) open() (err error) {
	w.live, err = launch(w.t, w.path, w.seen(), w.settings)
	return err
}

// stop is an orderly stop. Consumers that hold messages do not see it.
func (w *world) stop() error {
	if w.live == nil {
		return nil
	}
	w.live.audit()
	err := w.live.stop()
	w.live, w.holding = nil, nil
	if n := w.disk.Handles(); n > 0 {
		w.t.Fatalf("%d files are open after a stop", n)
	}
	if err == nil {
		w.synced()
	}
	return err
}

var errDown = errors.New("the broker could not be started")

func (w *world) topic(name string) (*Topic, error) {
	if w.live == nil {
		return nil, errDown
	}
	return w.live.Find(name)
}

func (w *world) create(name string) error {
	if w.live == nil {
		return errDown
	}
	b := w.book(name)
	if b == nil || b.deleted == yes {
		b = &book{name: name}
		w.books = append(w.books, b)
	}
	_, err := w.live.Topic(w.t.Context(), name)
	b.created = max(b.created, answer(err))
	return err
}

func answer(err error) doubt {
	if err != nil {
		return maybe
	}
	return yes
}

func (w *world) deleteTopic(name string) error {
	if w.live == nil {
		return errDown
	}
	err := w.live.DeleteTopic(name)
	synctest.Wait()
	if b := w.book(name); b.deleted != yes {
		b.deleted = answer(err)
	}
	return err
}

func (w *world) createChannel(name, channel string) error {
	t, err := w.topic(name)
	if err != nil {
		return err
	}
	b := w.book(name)
	p := b.page(channel)
	if p == nil || p.deleted == yes {
		p = &page{name: channel, delivered: map[int]bool{}, finished: map[int]told{}, later: map[int]*requeue{}}
		if len(b.channels) > 0 {
			p.from = len(w.sent)
		}
		b.channels = append(b.channels, p)
	}
	err = t.CreateChannel(channel)
	if p.created != yes && p.from > 0 {
		p.from = len(w.sent)
	}
	p.created = max(p.created, answer(err))
	return err
}

func (w *world) deleteChannel(name, channel string) error {
	t, err := w.topic(name)
	if err != nil {
		return err
	}
	if err = t.DeleteChannel(channel); errors.Is(err, ErrNoChannel) {
		err = nil // this is another attempt
	}
	if p := w.book(name).page(channel); p.deleted != yes {
		p.deleted = answer(err)
	}
	return err
}

// publish publishes n messages of a size in one batch.
func (w *world) publish(name string, n, size int) error {
	t, err := w.topic(name)
	if err != nil {
		return err
	}
	first, bodies := w.draw(name, 0, n, size)
	err = t.Publish(bodies)
	w.answered(first, n, err)
	return err
}

// draw makes messages that nobody has published before.
func (w *world) draw(name string, publisher, n, size int) (first int, bodies [][]byte) {
	first = len(w.sent)
	for range n {
		bodies = append(bodies, body(len(w.sent), size))
		w.sent = append(w.sent, message{book: w.book(name), publisher: publisher})
	}
	return first, bodies
}

func (w *world) answered(first, n int, err error) {
	for i := first; i < first+n; i++ {
		w.sent[i].acked = err == nil
	}
	if b := w.sent[first].book; err == nil {
		b.created = yes
	}
}

// together has several publish at once.
func (w *world) together(name string, publishers, size int) error {
	t, err := w.topic(name)
	if err != nil {
		return err
	}
	const each = 2
	var wg sync.WaitGroup
	errs := make([]error, publishers*each)
	first := make([]int, len(errs))
	for i := range errs {
		first[i], _ = w.draw(name, 1+i/each, 1, 0)
	}
	for p := range publishers {
		wg.Go(func() {
			for i := p * each; i < (p+1)*each; i++ {
				errs[i] = t.Publish([][]byte{body(first[i], size)})
			}
		})
	}
	wg.Wait()
	for i, err := range errs {
		w.answered(first[i], 1, err)
	}
	return errors.Join(errs...)
}

func (w *world) later(name string, delay time.Duration, size int) error {
	t, err := w.topic(name)
	if err != nil {
		return err
	}
	first, bodies := w.draw(name, 0, 1, size)
	w.sent[first].due = w.live.Now() + int64(delay)
	err = t.Defer(bodies[0], delay)
	w.answered(first, 1, err)
	return err
}

// consume receives up to n messages and finishes them but for every so manyeth,
// which is requeued, and what is left of it then, which is held or given back.
func (w *world) consume(name, channel string, n, requeueEvery int, delay time.Duration, hold int) error {
	t, err := w.topic(name)
	if err != nil {
		return err
	}
	k, err := t.Subscribe(channel, nil, Membership{Timeout: time.Minute})
	if err != nil {
		return err
	}
	c, p := &client{Consumer: k, t: w.t}, w.book(name).page(channel)
	c.SetReady(n)
	all := c.drain(nil)
	for _, g := range all {
		p.delivered[g.number] = true
	}
	all = all[:max(0, len(all)-hold)]
	for i, g := range all {
		if delete(p.later, g.number); requeueEvery > 0 && i%requeueEvery == 0 {
			p.later[g.number] = &requeue{due: w.live.Now() + int64(delay), told: unwritten}
			if err := c.Requeue(g.id, delay); err != nil {
				w.t.Errorf("REQ: %v", err)
			}
			continue
		}
		p.finished[g.number] = unwritten
		c.finish([]got{g})
	}
	if hold > 0 {
		c.SetReady(0) // or it would be its turn
		w.holding = append(w.holding, c)
		return nil
	}
	c.close()
	return nil
}

// drain receives, in a bubble, all that comes without waiting for a time, and
// does with it what answer does.
func (c *client) drain(answer func([]got)) (all []got) {
	c.t.Helper()
	for {
		some := c.poll()
		if all = append(all, some...); len(some) > 0 {
			if answer != nil {
				answer(some)
			}
			continue
		}
		synctest.Wait() // what comes from the log is on its way
		select {
		case <-c.Awake():
		default:
			return all
		}
	}
}

// onPurpose is why the world pauses what it pauses.
const onPurpose = "on purpose"

// pause pauses a topic, or if channel is not empty a channel, or ends that.
func (w *world) pause(name, channel string, pause bool) error {
	t, err := w.topic(name)
	if err != nil {
		return err
	}
	state := &w.book(name).paused
	switch {
	case channel == "" && pause:
		err = t.Pause(queue.Pause{Reason: onPurpose})
	case channel == "":
		err = t.Unpause()
	default:
		state = &w.book(name).page(channel).paused
		if pause {
			err = t.PauseChannel(channel, queue.Pause{Reason: onPurpose})
		} else {
			err = t.UnpauseChannel(channel)
		}
	}
	if *state = maybe; err == nil {
		*state = no
		if pause {
			*state = yes
		}
	}
	return err
}

// settle waits until what channels have done is written down.
func (w *world) settle() error {
	if w.live == nil {
		return errDown
	}
	busy := ""
	for range 10 {
		time.Sleep(300 * time.Millisecond)
		synctest.Wait()
		busy = ""
		for _, t := range w.live.Topics() {
			t.mu.Lock()
			if l := t.logs; l.soiled || l.tending || l.upkeep.failing {
				busy = t.name
			}
			t.mu.Unlock()
		}
		if busy == "" {
			break
		}
	}
	if busy != "" {
		return fmt.Errorf("topic %s is still written behind", busy)
	}
	for _, b := range w.books {
		b.settle(kept)
		if w.level == Fsync {
			b.settle(durable)
		}
	}
	return nil
}

// sync makes everything survive a power cut, as an orderly stop would.
func (w *world) sync() error {
	if w.live == nil {
		return errDown
	}
	synctest.Wait()
	var errs []error
	for _, t := range w.live.Topics() {
		errs = append(errs, t.save(), t.writeBehind(true), t.syncLog(t.logs.main), t.syncLog(t.logs.side))
	}
	err := errors.Join(errs...)
	if err == nil {
		w.synced()
	}
	return err
}

// seen is the disk as the broker sees it.
func (w *world) seen() disk.FS {
	if w.fs != nil {
		return w.fs
	}
	return w.disk
}

// sleep lets so much of the bubble's time pass, and what is due happen.
func (w *world) sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
