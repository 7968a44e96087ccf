package broker

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/acks"
	"github.com/millrace-mq/millrace/qd/journal"
	"github.com/millrace-mq/millrace/qd/queue"
)

// logs are what a topic has on disk at the levels disk and fsync: a folder of
// its own that says all there is to know of it.
//
//	topics/<name>.<number>/
//	    topic.json        name, policy, pauses, channels
//	    log/              the messages, in the order of their publication
//	    side/             deferred publishes, and messages moved out of the log's way
//	    acks/<channel>.N  how far each channel has come
type logs struct {
	dir     string
	main    *journal.Log
	side    *journal.Log
	taken   uint64 // no position of the side log below is given out any more
	commits commits

	made   atomic.Bool   // the folder is there, and will be after a power cut
	filing sync.Mutex    // held while topic.json is written, and for nothing else
	filed  atomic.Uint64 // which of the topic's changes is in topic.json; written under filing

	// Under Topic.mu.
	change   uint64 // counts what has to go into topic.json
	files    uint64 // counts the files of channels, which are never named alike
	held     map[*queue.Channel]*holding
	soiled   bool  // there is something to be written behind
	unsynced bool  // there is something that a power cut would take
	open     bool  // there may be open files, and it counts among Broker.opened
	tending  bool  // tend or writeNow runs
	tendAt   int64 // when tend is to run; 0 is never

	upkeep upkeep // owned by who has set tending, and by start and stop; some of it is under Topic.mu
}

// holding is a channel's file.
type holding struct {
	number uint64
	bytes  atomic.Int64 // size of the file
	from   uint64       // position at which the channel began
	side   uint64       // the same in the side log
	change uint64       // the change that made it

	// Owned by who has set logs.tending, and by start and stop.
	file             *acks.File // nil until it is needed
	behind           bool       // a change could not be written: all must be
	synced           bool       // what is in the file survives a power cut
	cursor, deferred uint64     // as written
	open             []queue.Range
}

const (
	topicsDir     = "topics"
	deletedSuffix = ".deleted"
)

// topicDir is the folder of a topic with a log.
func (b *Broker) topicDir(name string, number uint64) string {
	return filepath.Join(b.DataPath, topicsDir, fmt.Sprintf("%s.%x", name, number))
}

// parseTopicDir takes the name of a topic's folder apart.
func parseTopicDir(base string) (name string, number uint64, ok bool) {
	i := strings.LastIndexByte(base, '.')
	if i < 0 {
		return "", 0, false
	}
	number, err := strconv.ParseUint(base[i+1:], 16, 64)
	return base[:i], number, err == nil && strconv.FormatUint(number, 16) == base[i+1:]
}

// sideEnd is the position of the next message of the side log. It is not that
// log's end if a power cut has taken messages that channels know of: one that
// came to lie in their place would be taken for them.
func (l *logs) sideEnd() uint64 { return max(l.side.End(), l.taken) }

func (l *logs) acksPath(channel string, number uint64) string {
	return filepath.Join(l.dir, "acks", fmt.Sprintf("%s.%x", channel, number))
}

// openLogs opens the logs in a topic's folder, or those of a new one.
func (b *Broker) openLogs(name string, number uint64) (*logs, error) {
	return b.openLogsIn(b.topicDir(name, number), name)
}

func (b *Broker) openLogsIn(dir, name string) (*logs, error) {
	l := &logs{dir: dir, change: 1, held: make(map[*queue.Channel]*holding)}
	l.commits.enough = make(chan struct{}, 1)
	report := func(f journal.Finding) {
		b.log.Error("messages on disk are damaged or missing; what is left of them is set aside", "topic", name, "detail", f.String())
	}
	var err error
	if l.main, err = journal.Open(b.FS, filepath.Join(l.dir, "log"), journal.Options{SegmentBytes: b.SegmentBytes, Report: report, Took: b.diskTimes.took}); err != nil {
		return nil, fmt.Errorf("topic %s: opening its log: %w", name, err)
	}
	l.side, err = journal.Open(b.FS, filepath.Join(l.dir, "side"), journal.Options{SegmentBytes: b.SegmentBytes, Report: report, Took: b.diskTimes.took, Sparse: true})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("topic %s: opening its side log: %w", name, err), l.main.Close())
	}
	return l, nil
}

// addChannel opens a channel that is not there yet: at a position of the log if
// at is not nil, else where channels usually begin. Under mu; save must follow.
func (t *Topic) addChannel(name string, at *uint64) *queue.Channel {
	now := t.broker.Now()
	if t.logs == nil {
		return t.core.AddChannel(name, now)
	}
	side := t.core.LogState().BaseSide
	var c *queue.Channel
	if at != nil {
		c = t.core.OpenChannelAt(name, *at, now)
	} else {
		c = t.core.AddChannel(name, now)
	}
	t.holdFile(c, side)
	return c
}

// holdFile gives a new channel its file. Deferred publishes that it has just been
// given are in the side log, from position side on: its file need not have them
// yet. Under mu; save must follow.
func (t *Topic) holdFile(c *queue.Channel, side uint64) {
	if !protocol.Ephemeral(c.Name()) {
		t.logs.files++
		t.logs.change++
		t.logs.held[c] = &holding{number: t.logs.files, from: c.Cursor(), side: side, change: t.logs.change}
	}
}

// forgetFile gives up the file of a channel that was deleted, and returns its
// path. Under mu.
func (t *Topic) forgetFile(c *queue.Channel) string {
	if t.logs == nil || t.logs.held[c] == nil {
		return ""
	}
	path := t.logs.acksPath(c.Name(), t.logs.held[c].number)
	delete(t.logs.held, c)
	t.logs.change++
	return path
}

// settled returns when a channel that somebody is told of will be there after a
// crash too. Other changes that could not be written are no reason to keep
// consumers away.
func (t *Topic) settled(c *queue.Channel) error {
	if t.logs == nil {
		return nil
	}
	t.mu.Lock()
	h := t.logs.held[c]
	t.mu.Unlock()
	if h == nil || t.logs.filed.Load() >= h.change {
		return nil
	}
	return t.save()
}
