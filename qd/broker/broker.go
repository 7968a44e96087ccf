// Package broker holds the topics of a daemon: it gives each queue.Topic its
// lock, its memory, its disk queues and its place on the clock, keeps them
// across restarts, and tells others when topics and channels come and go.
//
// Lock order: Broker.saving, logs.filing, Broker.mu, Topic.mu, then keeper.mu,
// memory.mu or health.mu; commits.mu and the journal's are leaves. None is held
// across I/O or while a consumer is woken, but saving and filing, which are
// there to have one metadata file (qd.json, a topic's topic.json) written at a
// time. Before all of them come two that are no mutexes: logs.tending, then the
// lead of commits.
package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/disk"
	"github.com/millrace-mq/millrace/qd/queue"
	"github.com/millrace-mq/millrace/qd/spill"
)

// Errors of publishing and subscribing.
var (
	ErrGone    = errors.New("topic or channel was deleted")
	ErrExiting = errors.New("exiting")
	// ErrDraining is why publishes fail, and topics are not created, once Drain was
	// called. It is certain that nothing was stored.
	ErrDraining = errors.New(protocol.Draining + ": this daemon takes no more messages; publish to another")
	// ErrNoTopic and ErrNoChannel are returned for names that do not exist.
	ErrNoTopic   = errors.New("no such topic")
	ErrNoChannel = errors.New("no such channel")
)

// Settings are what a Broker needs to know.
type Settings struct {
	DataPath       string        // an existing directory, of which the broker is the only user
	MemoryMessages int           // per topic and per channel; what is beyond goes to disk, or is read from the log again
	MemoryBytes    int64         // of all messages together; beyond it, everything goes to disk
	FileBytes      int64         // of a disk queue's file
	SyncEvery      int64         // disk queue records per fsync
	SyncTimeout    time.Duration // between fsyncs of a disk queue, and of a log at level Disk
	MaxMsgTimeout  time.Duration // the longest that TOUCH can keep a message in flight
	Durability     Level         // of topics for which none was set
	SegmentBytes   int64         // of a log's segment; 0 is 64 MiB
	MinFree        int64         // bytes that must be free on the disk for publishes to be accepted
	FS             disk.FS       // for logs; nil is the operating system's

	// Percentiles are the quantiles, above 0 and at most 1, that are kept of the
	// time from a message's publication to its FIN, over PercentileWindow; none by
	// default: a busy channel takes 30 to 120 KiB for them, which are not in
	// MemoryBytes. The FIN of a message that was published on its own takes about a
	// quarter longer (BenchmarkFinish), that of one of a batch hardly so.
	Percentiles      []float64
	PercentileWindow time.Duration

	// PreferNear has messages go to consumers that are near first: those in Zone of
	// Region, then those in Region. Empty names are nobody's.
	PreferNear   bool
	Region, Zone string

	// Channels, if not nil, returns the channels that a new topic should have
	// from the start, because other daemons have them, and the lookupds that have not
	// said so. It returns soon. If there are such, the topic is one of Broker.Learning.
	Channels func(ctx context.Context, topic string) (channels, unheard []string)
	// Changed, if not nil, is told what Change says. The context is that of the call that
	// has led to it. No lock is held; it must not block, and may be called from many
	// goroutines, and while Open runs.
	Changed func(ctx context.Context, c Change)
	Log     *slog.Logger
}

// Broker is the daemon's topics.
type Broker struct {
	Settings
	log       *slog.Logger
	instance  string
	epoch     time.Time
	began     int64                      // what the system's clock said then, ns since the Unix epoch
	low       atomic.Pointer[SpaceError] // not nil while the disk is too full
	free      atomic.Int64               // bytes free on the disk when it was looked at last; -1 if that failed
	size      atomic.Int64               // and how many it has in all; 0 if nobody knows
	diskTimes diskTimes
	memory    *memory
	keeper    *keeper
	spill     spill.Config
	dir       *os.File // holds the lock on DataPath

	drawn    atomic.Uint64 // the last number drawn
	reserved atomic.Uint64 // numbers up to this one are written down as drawn
	phase    atomic.Int32  // of its life: taking, draining, exiting
	intents  sync.Pool     // of publishers to logs; its own, since a channel cannot leave its synctest bubble
	halted   atomic.Bool   // deliveries are held back
	stopping chan struct{} // closed by end: the disk workers end
	end      func()        // closes stopping, once
	workers  sync.WaitGroup
	disk     health
	disks    openDisks
	opened   atomic.Int64 // topics whose logs may have files open

	changed chan struct{} // there is something to be written down
	saving  sync.Mutex    // held while qd.json is described and written, and for nothing else

	mu        sync.RWMutex // guards what follows
	topics    map[string]*Topic
	learners  map[*Topic]struct{} // which may lack channels that other daemons have
	watchers  map[chan struct{}]struct{}
	leftovers map[string][]string // by topic, folders of deleted ones that could not be deleted
}

// Open takes the data path, and everything on it, into use. The Broker must
// then be Run, and closed afterwards.
func Open(s Settings) (*Broker, error) {
	if strings.Contains(s.DataPath, "%") {
		return nil, fmt.Errorf("data path %s: must not contain '%%'", s.DataPath)
	}
	dir, err := lockDir(s.DataPath)
	if err != nil {
		return nil, err
	}
	epoch := time.Now()
	b := &Broker{
		Settings:  s,
		log:       s.Log,
		epoch:     epoch,
		began:     epoch.UnixNano(),
		memory:    newMemory(s.MemoryBytes),
		dir:       dir,
		stopping:  make(chan struct{}),
		changed:   make(chan struct{}, 1),
		topics:    make(map[string]*Topic),
		learners:  make(map[*Topic]struct{}),
		watchers:  make(map[chan struct{}]struct{}),
		leftovers: make(map[string][]string),
	}
	b.intents.New = func() any { return newIntent() }
	b.diskTimes = newDiskTimes()
	b.free.Store(-1)
	b.end = sync.OnceFunc(func() { close(b.stopping) })
	if b.FS == nil {
		b.FS = disk.OS
	}
	b.disk.log = s.Log
	b.disks = newOpenDisks()
	b.keeper = &keeper{now: b.Now, wake: make(chan struct{}, 1)}
	b.spill = spill.Config{
		Dir: filepath.Join(s.DataPath, "spill"), FileBytes: s.FileBytes, SyncEvery: s.SyncEvery, SyncTimeout: s.SyncTimeout,
		Report: func(text string) { b.log.Warn("trouble with a disk queue", "detail", text) },
	}
	if err = b.checkVersions(); err == nil {
		err = os.MkdirAll(b.spill.Dir, 0o700)
	}
	if err == nil {
		err = b.load()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening data path %s: %w", s.DataPath, err), b.abandon(), dir.Close())
	}
	return b, nil
}

// Instance is the identity of the data path: the same for ever, and another's for
// another one, unless that is a copy.
func (b *Broker) Instance() string { return b.instance }

// Now is the broker's time, in nanoseconds since the Unix epoch. It is not set
// back when the system's clock is.
func (b *Broker) Now() int64 { return b.began + int64(time.Since(b.epoch)) }

// Run keeps time and writes down what changes, until ctx ends and everything
// that it started has ended.
func (b *Broker) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { b.keeper.run(ctx) })
	wg.Go(func() { b.runSaver(ctx) })
	wg.Go(func() { b.memory.run(ctx) })
	wg.Go(func() { b.watchSpace(ctx) })
	<-ctx.Done()
	b.end()
	wg.Wait()
	b.workers.Wait()
	return nil
}

func (b *Broker) open() bool {
	select {
	case <-b.stopping:
		return false
	default:
		return true
	}
}

// Halt ends deliveries. What is in flight can still be answered.
func (b *Broker) Halt() { b.halted.Store(true) }

// InFlight is the number of messages that consumers hold, in all channels.
func (b *Broker) InFlight() int {
	n := 0
	for _, t := range b.Topics() {
		t.View(func(core *queue.Topic) {
			for _, c := range core.Channels() {
				n += c.InFlight()
			}
		})
	}
	return n
}

// Health is nil, or why the disk could not be used the last time that it was
// tried.
func (b *Broker) Health() error { return b.disk.err() }

// Find returns the topic called name, or ErrNoTopic.
func (b *Broker) Find(name string) (*Topic, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if t := b.topics[name]; t != nil {
		return t, nil
	}
	return nil, ErrNoTopic
}

// Topic returns the topic called name, which must be a valid name, and
// creates it if need be.
func (b *Broker) Topic(ctx context.Context, name string) (*Topic, error) {
	return b.Create(ctx, name, Policy{})
}

// TopicToPublish is Topic for a publisher. If the publish, deferred or not, would
// be refused for want of memory or space, so is the creation of the topic: it
// would stay, empty. Errors are then those of the publish.
func (b *Broker) TopicToPublish(ctx context.Context, name string, deferred bool) (*Topic, error) {
	t, err := b.Find(name)
	if err == nil {
		return t, nil
	}
	if err = b.Refusal(); err != nil {
		return nil, err
	}
	if b.keepsLog(name, Policy{}) {
		err = b.space()
	} else if deferred && b.memory.Full() {
		err = queue.ErrNoMemory
	}
	if err != nil {
		return nil, err
	}
	return b.Topic(ctx, name)
}

// Create is Topic, with a policy for the topic if it is new: one that needs a
// log is refused (ErrNeedsLog) if the topic would have none.
func (b *Broker) Create(ctx context.Context, name string, policy Policy) (*Topic, error) {
	if t, err := b.Find(name); err == nil {
		if t.logs != nil && !t.logs.made.Load() {
			err = t.save() // whoever created it may have been told of an error
		}
		return t, err
	}
	if err := b.Refusal(); err != nil {
		return nil, err
	}
	if err := b.reserveEnough(); err != nil {
		return nil, fmt.Errorf("creating topic %s: %w", name, err)
	}
	var channels, unheard []string
	if b.Channels != nil {
		channels, unheard = b.Channels(ctx, name)
	}
	fresh, err := b.prepare(name, policy)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	t := b.topics[name]
	created := t == nil
	if err := b.Refusal(); created && err != nil { // lookupds may have been asked for long
		b.mu.Unlock()
		return nil, err
	}
	if created {
		t = fresh
		b.topics[name] = t
		t.mu.Lock()
		for _, c := range channels {
			t.addChannel(c, nil)
		}
		if len(unheard) > 0 {
			t.beginLearning(unheard)
			b.learners[t] = struct{}{}
		}
		t.mu.Unlock()
	}
	b.mu.Unlock()
	if created {
		b.log.Info("topic created", "topic", name, "durability", t.Level(), "channels", channels)
	}
	b.notify()
	err = t.save()
	if created {
		b.tell(ctx, Change{Action: "create-topic", Topic: name, Detail: others(channels), Err: err})
	}
	return t, err
}

// prepare makes a topic of the level that it should have. Nothing is on disk
// yet.
func (b *Broker) prepare(name string, policy Policy) (*Topic, error) {
	kept := b.keepsLog(name, policy)
	if !kept && policy.needsLog() {
		return nil, ErrNeedsLog
	}
	t := b.newTopic(name, b.draw())
	t.policy = policy
	if !kept {
		return t, nil
	}
	l, err := b.openLogs(name, t.number)
	if err != nil {
		return nil, err
	}
	t.logs = l
	t.core = queue.NewLoggedTopic(t.coreConfig(), queue.LogState{}, l.main.Start(), l.main.End(), l.side.End(), nil)
	return t, nil
}

// add makes a topic of level memory and puts it among the others. Only while the
// broker is opened.
func (b *Broker) add(name string, number uint64) *Topic {
	t := b.newTopic(name, number)
	b.topics[name] = t
	return t
}

func (b *Broker) newTopic(name string, number uint64) *Topic {
	t := &Topic{name: name, broker: b, number: number, progress: make(chan struct{})}
	t.call.topic = t
	t.core = queue.NewTopic(t.coreConfig())
	return t
}

func (t *Topic) coreConfig() queue.Config {
	return queue.Config{
		Name: t.name, Store: t.broker.memory, MemoryMessages: t.broker.MemoryMessages,
		Extent: func() uint64 { // under mu
			number := t.broker.draw()
			t.extents.add(number)
			return number * queue.IDExtent
		},
	}
}

// Topics returns all topics, sorted by name.
func (b *Broker) Topics() []*Topic {
	b.mu.RLock()
	defer b.mu.RUnlock()
	all := make([]*Topic, 0, len(b.topics))
	for _, t := range b.topics {
		all = append(all, t)
	}
	slices.SortFunc(all, func(x, y *Topic) int { return strings.Compare(x.name, y.name) })
	return all
}

// Watch returns a channel that is signalled whenever a topic or channel was
// created, deleted, paused or unpaused, and a function that ends this.
func (b *Broker) Watch() (changes <-chan struct{}, cancel func()) {
	ch := make(chan struct{}, 1)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.watchers[ch] = struct{}{}
	return ch, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.watchers, ch)
	}
}

// notify tells the watchers, and has the change written down.
func (b *Broker) notify() {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for ch := range b.watchers {
		signal(ch)
	}
	signal(b.changed)
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
