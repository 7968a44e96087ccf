package broker

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/acks"
	"github.com/millrace-mq/millrace/qd/journal"
	"github.com/millrace-mq/millrace/qd/queue"
)

// loadTopics opens the topics that have logs.
func (b *Broker) loadTopics() error {
	root := filepath.Join(b.DataPath, topicsDir)
	names, err := b.FS.List(root)
	if errors.Is(err, fs.ErrNotExist) {
		return errors.Join(b.FS.MkdirAll(root), b.FS.SyncDir(b.DataPath))
	}
	if err != nil {
		return err
	}
	newest := newestFolders(names)
	for _, base := range names {
		path := filepath.Join(root, base)
		if strings.HasSuffix(base, deletedSuffix) {
			if err := removeAll(b.FS, path); err != nil {
				return fmt.Errorf("deleting what is left of a deleted topic: %w", err)
			}
			continue
		}
		name, number, ok := parseTopicDir(base)
		if !ok || !protocol.ValidName(name) {
			b.log.Warn("a folder among the topics is not a topic's; it is left alone", "file", path)
			continue
		}
		b.inUse(number)
		if number < newest[name] {
			b.log.Error("a topic is there twice; the earlier one, whose deletion must have failed, is left alone until the later one is deleted", "topic", name, "file", path)
			b.leftovers[name] = append(b.leftovers[name], path)
			continue
		}
		if err := b.resume(name, number); err != nil {
			return fmt.Errorf("topic %s: %w", name, err)
		}
	}
	return nil
}

// inUse sees to it that a number is not drawn again, even if the metadata are
// lost, or older than the logs because both come from a backup.
func (b *Broker) inUse(number uint64) {
	if b.drawn.Load() < number {
		b.drawn.Store(number)
	}
}

// newestFolders are, by topic, the highest numbers of its folders. There are
// more than one if a deletion has failed and the name was used again.
func newestFolders(names []string) map[string]uint64 {
	newest := make(map[string]uint64)
	for _, base := range names {
		if name, number, ok := parseTopicDir(base); ok {
			newest[name] = max(newest[name], number)
		}
	}
	return newest
}

// resume opens a topic from its folder.
func (b *Broker) resume(name string, number uint64) error {
	record, whole, err := b.readTopicFile(b.topicDir(name, number))
	if err != nil {
		return err
	}
	l, err := b.openLogs(name, number)
	if err != nil {
		return err
	}
	t := b.add(name, number)
	t.logs = l // closed with the topic if what follows fails
	if !whole {
		if record, err = b.guess(l, record); err != nil {
			return err
		}
	}
	t.policy = record.Policy
	l.files, l.change = record.Files, 1
	if whole {
		if err := b.completeTopicDir(l.dir); err != nil {
			return err
		}
		l.filed.Store(1)
		l.made.Store(true)
	}
	if whole {
		b.removeOrphans(l, record)
	}
	r := resumption{Topic: t, record: record, whole: whole}
	if err := r.read(); err != nil {
		return err
	}
	if err := r.lastIDs(); err != nil {
		return err
	}
	r.assemble()
	t.mu.Lock()
	t.soil(b.Now())
	t.awaitEnd()
	t.unlock()
	return nil
}

// removeOrphans deletes the files of channels that are gone: a crash, or a write
// that was under way, has left them. Copies of damaged ones stay.
func (b *Broker) removeOrphans(l *logs, r topicRecord) {
	known := make(map[string]bool)
	for _, c := range r.Channels {
		known[filepath.Base(l.acksPath(c.Name, c.File))] = true
	}
	names, _ := b.FS.List(filepath.Join(l.dir, "acks"))
	for _, name := range names {
		if i := strings.LastIndexByte(name, '.'); i >= 0 && !known[name] && !strings.HasPrefix(name[i:], ".damaged-") {
			_ = b.FS.Remove(filepath.Join(l.dir, "acks", name)) // or at the next start
		}
	}
}

// guess makes up for a lost topic.json: channels are those that have files.
func (b *Broker) guess(l *logs, r topicRecord) (topicRecord, error) {
	names, err := b.FS.List(filepath.Join(l.dir, "acks"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return r, err
	}
	for _, base := range names {
		i := strings.LastIndexByte(base, '.')
		if i < 0 {
			continue
		}
		file, err := strconv.ParseUint(base[i+1:], 16, 64)
		if err != nil || !protocol.ValidName(base[:i]) {
			continue
		}
		r.Channels = append(r.Channels, channelRecord{Name: base[:i], File: file})
		r.Files = max(r.Files, file)
	}
	// Of a channel that was deleted and created again, the later file counts.
	slices.SortFunc(r.Channels, func(x, y channelRecord) int {
		return cmp.Or(strings.Compare(x.Name, y.Name), cmp.Compare(y.File, x.File))
	})
	r.Channels = slices.CompactFunc(r.Channels, func(x, y channelRecord) bool { return x.Name == y.Name })
	return r, nil
}

// resumption is a topic being put together again.
type resumption struct {
	*Topic
	record   topicRecord
	whole    bool // the record is: topic.json was there
	channels []resumed
	end      uint64 // position of the next message
	sideEnd  uint64
	waiting  []queue.Entry // deferred publishes that no channel has yet
}

// resumed is a channel of it.
type resumed struct {
	channelRecord
	file     *acks.File
	state    acks.State
	inFlight []queue.Entry // were so, and what is given to it again
	late     []queue.Entry // deferred publishes that are not in its file yet

	// lost: its file was damaged, or is not there, and so may be older than what is
	// in the logs: then known are its entries, and behind says that it speaks of
	// messages that the log has no more.
	lost, behind bool
	known        map[uint64]*acks.Entry
}

// read reads the channels' files, and from the logs what they refer to.
func (r *resumption) read() error {
	l := r.logs
	r.end = max(l.main.End(), r.record.State.PausedAt, r.record.State.Base)
	r.sideEnd = max(l.side.End(), r.record.State.PausedSide, r.record.State.BaseSide)
	for _, record := range r.record.Channels {
		c := resumed{channelRecord: record}
		if err := r.readChannel(&c); err != nil {
			return fmt.Errorf("channel %s: %w", c.Name, err)
		}
		r.channels = append(r.channels, c)
		r.end, r.sideEnd = max(r.end, c.state.Cursor), max(r.sideEnd, c.state.Deferred)
	}
	return r.readDeferred()
}

func (r *resumption) readChannel(c *resumed) error {
	file, state, found, err := acks.Open(r.broker.FS, r.logs.acksPath(c.Name, c.File))
	if err != nil {
		return err
	}
	if found.Missing { // it had done nothing yet, or its file is lost
		state.Cursor, state.Deferred = c.From, c.FromSide
		if c.lost = r.logs.main.End() > c.From || r.logs.side.End() > c.FromSide; c.lost {
			r.broker.log.Warn("a channel has no file, or an empty one: unless it was created just before a crash, what it had finished comes again",
				"topic", r.name, "channel", c.Name, "file", r.logs.acksPath(c.Name, c.File))
		}
	}
	if found.Damaged > 0 {
		c.lost = true
		r.broker.log.Error("what a channel had done is damaged from some point on; messages since then come again",
			"topic", r.name, "channel", c.Name, "file", r.logs.acksPath(c.Name, c.File))
	}
	c.file, c.state = file, state
	var open []uint64
	for _, span := range state.Open {
		for p := span.From; p < span.To; p++ {
			open = append(open, p)
		}
	}
	for _, e := range state.Entries {
		r.met(e.ID)
	}
	err = r.logs.main.Get(open, func(i int, m journal.Message) error {
		if m.Err == nil {
			c.inFlight = append(c.inFlight, queue.Entry{ID: m.ID, Place: open[i], Attempts: 1, Reason: queue.Stopped})
		} else {
			c.behind = true
		}
		return nil
	})
	return err
}

// entries are the messages that the channel had in flight or parked, by ID. There
// may be millions, so they are not copied together.
func (c *resumed) entries(yield func(queue.Entry) bool) {
	inFlight := slices.SortedFunc(slices.Values(c.inFlight), func(x, y queue.Entry) int { return cmp.Compare(x.ID, y.ID) })
	for _, e := range c.state.Entries {
		for ; len(inFlight) > 0 && inFlight[0].ID <= e.ID; inFlight = inFlight[1:] {
			if !yield(inFlight[0]) {
				return
			}
		}
		if !yield(queue.Entry{
			ID: e.ID, Place: e.Place, Due: e.Due, Attempts: e.Attempts, State: queue.State(e.State), Reason: queue.Reason(e.Reason),
		}) {
			return
		}
	}
	for _, e := range inFlight {
		if !yield(e) {
			return
		}
	}
}

// readDeferred finds the deferred publishes that came after a channel's file was
// last written, or that no channel has yet.
func (r *resumption) readDeferred() error {
	state := r.record.State
	base := state.BaseSide
	if state.Paused {
		base = state.PausedSide
	}
	from := r.sideEnd
	if len(r.channels) == 0 || state.Paused {
		from = base
	}
	for i := range r.channels {
		c := &r.channels[i]
		from = min(from, c.state.Deferred)
		if c.lost {
			from = min(from, c.FromSide)
			c.behind = c.behind || c.state.Cursor < r.logs.main.Start()
			c.known = make(map[uint64]*acks.Entry, len(c.state.Entries))
			for i := range c.state.Entries {
				c.known[c.state.Entries[i].ID] = &c.state.Entries[i]
			}
		}
	}
	return r.logs.side.Scan(from, func(h journal.Header, _ []byte) error {
		r.met(h.FirstID)
		e := queue.Entry{ID: h.FirstID, Place: queue.Side | h.Position, Due: h.Due}
		fresh := h.Kind == journal.Deferred
		waits := fresh && h.Position >= base && (len(r.channels) == 0 || state.Paused)
		if waits {
			r.waiting = append(r.waiting, e)
			return nil
		}
		for i := range r.channels {
			c := &r.channels[i]
			if fresh && h.Position >= c.state.Deferred {
				c.late = append(c.late, e)
			} else if !fresh && c.lost && h.Position >= c.FromSide {
				c.moved(e)
			}
		}
		return nil
	})
}

// moved takes in what the side log tells a channel whose file is damaged: where a
// message that it has parked lies now, or that there is one which it had to be
// given again and that is in the log no more.
func (c *resumed) moved(e queue.Entry) {
	switch known := c.known[e.ID]; {
	case known != nil:
		known.Place = e.Place
	case !c.behind:
		// The file goes back no farther than the log: it is another channel's.
	case e.Due == 0: // it was delivered, and came back
		e.Attempts, e.Reason = 1, queue.Stopped
		c.inFlight = append(c.inFlight, e)
	default:
		c.late = append(c.late, e)
	}
}

// lastIDs looks which IDs the logs have used.
func (r *resumption) lastIDs() error {
	for _, log := range []*journal.Log{r.logs.main, r.logs.side} {
		if log.Start() == log.End() {
			continue
		}
		err := log.Get([]uint64{log.End() - 1}, func(_ int, m journal.Message) error {
			if m.Err == nil {
				r.met(m.ID)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// assemble makes the core.
func (r *resumption) assemble() {
	l := r.logs
	holes := r.record.State.Holes
	if end := l.main.End(); end < r.end {
		holes = append(holes, queue.Hole{From: end, To: r.end})
	}
	r.record.State.Holes = holes
	l.taken = r.sideEnd
	r.core = queue.NewLoggedTopic(r.coreConfig(), r.record.State, l.main.Start(), r.end, r.sideEnd, r.waiting)
	parked := 0
	for i := range r.channels {
		c := &r.channels[i]
		core := r.core.ResumeChannel(c.Name, c.currentPause(), c.state.Cursor, c.entries)
		parked += len(c.state.Entries)
		c.state.Entries, c.known = nil, nil
		core.SetMaxAttempts(c.MaxAttempts)
		for _, e := range c.late {
			core.TakeIn(e)
		}
		h := &holding{number: c.File, from: c.From, side: c.FromSide, file: c.file, behind: c.lost}
		if h.file != nil {
			h.bytes.Store(h.file.Size())
		}
		l.held[core] = h
	}
	if parked > muchParked {
		debug.FreeOSMemory() // of the files, several times what is left
	}
}
