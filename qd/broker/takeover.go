package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/acks"
	"github.com/millrace-mq/millrace/qd/journal"
	"github.com/millrace-mq/millrace/qd/queue"
	"github.com/millrace-mq/millrace/qd/takeover"
)

// This file takes over what nsqd has left on the data path. Everything is
// written to folders that do not count yet. Then one file, the note, is put in
// place: from there on they count, and nsqd's files do not. A crash before it
// leaves nsqd's data as they were, and the next start begins again; after it,
// the next start does what is left to do. So nothing is lost, nor doubled.

const (
	// takenNote says that what was staged counts.
	takenNote = "nsqd-taken-over.json"
	// stagedSuffix is that of folders that do not count without the note.
	stagedSuffix = ".staged"
)

// takenFrames is how many bytes of frames one record is made of.
const takenFrames = 256 << 10

// noteVersion is that of the note's format. Notes of older programs say none.
const noteVersion = 1

// note is what takenNote holds.
type note struct {
	Version int      `json:"version"`
	Folders []string `json:"folders"` // staged, without the suffix
}

// takeOver takes over what nsqd has left, if it has. m is what the metadata say
// so far.
func (b *Broker) takeOver(ctx context.Context, m meta) error {
	path := filepath.Join(b.DataPath, takenNote)
	text, err := readFile(b.FS, path)
	if err == nil {
		var n note
		if err := json.Unmarshal(text, &n); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return b.finishTakeOver(n)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := b.removeStaged(); err != nil {
		return err
	}
	source, err := takeover.Find(b.DataPath)
	if err != nil || source == nil {
		return err
	}
	b.log.Info("taking over what nsqd has left here", "topics", len(source.Topics()))
	for _, text := range source.Notes() {
		b.log.Warn("taking over from nsqd", "detail", text)
	}
	n := note{Version: noteVersion}
	var sum taken
	for _, topic := range source.Topics() {
		if known, err := b.knows(m, topic.Name); err != nil || known {
			if err != nil {
				return err
			}
			return fmt.Errorf("taking over from nsqd: topic %s is here already: move one of the two away", topic.Name)
		}
		s := staging{Broker: b, source: source, topic: topic, number: b.draw(), sum: &sum}
		if err := s.stage(ctx); err != nil {
			return fmt.Errorf("taking over topic %s from nsqd: %w", topic.Name, err)
		}
		n.Folders = append(n.Folders, filepath.Base(b.topicDir(topic.Name, s.number)))
	}
	// The numbers and IDs used must not be drawn again.
	m.Reserved = max(m.Reserved, b.drawn.Load()+reserve)
	if err := b.save(m); err != nil {
		return err
	}
	if text, err = json.MarshalIndent(n, "", " "); err != nil {
		return err
	}
	if err := replaceFile(b.FS, path, text); err != nil {
		return err
	}
	if err := b.finishTakeOver(n); err != nil {
		return err
	}
	b.log.Info("taken over from nsqd; its files are set aside", "topics", len(n.Folders), "channels", sum.channels,
		"messages", sum.messages, "damaged", sum.damaged, "file", filepath.Join(b.DataPath, takeover.Folder))
	b.tell(byItself, Change{Action: "take-over", Detail: fmt.Sprintf("from nsqd: %d topics, %d channels, %d messages", len(n.Folders), sum.channels, sum.messages)})
	return nil
}

// knows reports whether there is a topic of that name already.
func (b *Broker) knows(m meta, topic string) (bool, error) {
	for _, t := range m.Topics {
		if t.Name == topic {
			return true, nil
		}
	}
	folders, err := b.FS.List(filepath.Join(b.DataPath, topicsDir))
	for _, folder := range folders {
		if name, _, ok := parseTopicDir(folder); ok && name == topic {
			return true, nil
		}
	}
	return false, err
}

// taken is what was taken over.
type taken struct{ channels, messages, damaged int }

// removeStaged deletes what a takeover that was cut off has staged.
func (b *Broker) removeStaged() error {
	root := filepath.Join(b.DataPath, topicsDir)
	names, err := b.FS.List(root)
	if errors.Is(err, fs.ErrNotExist) {
		return errors.Join(b.FS.MkdirAll(root), b.FS.SyncDir(b.DataPath))
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasSuffix(name, stagedSuffix) {
			if err := removeAll(b.FS, filepath.Join(root, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// finishTakeOver does what is left to do once the note is in place.
func (b *Broker) finishTakeOver(n note) error {
	root := filepath.Join(b.DataPath, topicsDir)
	for _, folder := range n.Folders {
		to := filepath.Join(root, folder)
		if err := b.FS.Rename(to+stagedSuffix, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := b.FS.SyncDir(root); err != nil {
		return err
	}
	if err := takeover.Complete(b.DataPath); err != nil {
		return err
	}
	return errors.Join(b.FS.Remove(filepath.Join(b.DataPath, takenNote)), b.FS.SyncDir(b.DataPath))
}

// staging writes one topic of nsqd's to a folder that does not count yet.
type staging struct {
	*Broker
	source *takeover.Source
	topic  takeover.Topic
	number uint64
	sum    *taken

	logs   *logs
	id     uint64
	record journal.Record // being filled
	frames []byte
	log    *journal.Log // that it is for
	read   int          // messages
}

// stage writes the topic. The channel that has most in its own queue has it in
// the log, where it takes no memory, and after it comes the topic's queue; of
// the other channels, what is in their queues is parked.
func (s *staging) stage(ctx context.Context) (err error) {
	dir := s.topicDir(s.topic.Name, s.number) + stagedSuffix
	if s.logs, err = s.openLogsIn(dir, s.topic.Name); err != nil {
		return err
	}
	if err := s.makeTopicDir(dir); err != nil {
		return err
	}
	s.id = s.draw() * queue.IDExtent
	main := s.largest()
	record := topicRecord{Version: topicFileVersion, Name: s.topic.Name, Number: s.number}
	entries := make([][]acks.Change, len(s.topic.Channels))
	if main >= 0 {
		if entries[main], err = s.channel(ctx, s.topic.Channels[main].Name, s.logs.main); err != nil {
			return err
		}
	}
	split := s.logs.main.End()
	for i, c := range s.topic.Channels {
		if i != main {
			if entries[i], err = s.channel(ctx, c.Name, s.logs.side); err != nil {
				return err
			}
		}
	}
	if err := s.queueOf(ctx, "", func(m takeover.Message) error {
		_, err := s.add(s.logs.main, journal.Messages, m)
		return err
	}); err != nil {
		return err
	}
	for i, c := range s.topic.Channels {
		from := split
		if i == main {
			from = 0
		}
		r := channelRecord{Name: c.Name, File: uint64(i + 1), From: from, FromSide: s.logs.side.End(), Paused: c.Paused}
		record.Channels = append(record.Channels, r)
		record.Files = r.File
		file, _, _, err := acks.Open(s.FS, filepath.Join(dir, "acks", fmt.Sprintf("%s.%x", r.Name, r.File)))
		if err == nil {
			err = file.Replace(acks.Delta{Reset: true, Cursor: from, Deferred: r.FromSide, Changes: entries[i]})
		}
		if err != nil {
			return err
		}
		s.sum.channels++
	}
	record.State.BaseSide = s.logs.side.End()
	if record.State.Paused = s.topic.Paused; s.topic.Paused {
		// What a paused nsqd topic has in its queue waits for the end of the pause.
		record.State.PausedAt, record.State.PausedSide = split, s.logs.side.End()
	}
	if err := s.writeTopicFile(dir, record); err != nil {
		return err
	}
	s.sum.messages += s.read
	return errors.Join(s.logs.main.Sync(), s.logs.side.Sync(), s.logs.main.Close(), s.logs.side.Close())
}

// largest is the channel with the largest queue, or -1.
func (s *staging) largest() int {
	best, most := -1, int64(-1)
	for i, c := range s.topic.Channels {
		files, _ := filepath.Glob(filepath.Join(s.DataPath, s.topic.Name+":"+c.Name+".diskqueue.*.dat"))
		size := int64(0)
		for _, f := range files {
			if info, err := os.Stat(f); err == nil {
				size += info.Size()
			}
		}
		if size > most {
			best, most = i, size
		}
	}
	return best
}

// channel writes a channel's own queue: to the log what was never delivered, if
// that is what log is, and everything else to the side log.
func (s *staging) channel(ctx context.Context, name string, log *journal.Log) (parked []acks.Change, err error) {
	err = s.queueOf(ctx, name, func(m takeover.Message) error {
		if log == s.logs.main && m.Attempts == 0 {
			_, err := s.add(log, journal.Messages, m)
			return err
		}
		id := s.id
		pos, err := s.add(s.logs.side, journal.Moved, m)
		parked = append(parked, acks.Change{Entry: acks.Entry{
			ID: id, Place: pos | queue.Side, Attempts: m.Attempts, Reason: uint8(queue.Stopped),
		}})
		return err
	})
	return parked, err
}

func (s *staging) queueOf(ctx context.Context, channel string, f func(m takeover.Message) error) error {
	found, err := s.source.Read(ctx, s.topic.Name, channel, f)
	if err == nil {
		err = s.flush()
	}
	for _, d := range found.Damage {
		s.Broker.log.Error("taking over from nsqd: damaged bytes are left out", "topic", s.topic.Name, "channel", channel,
			"file", d.File, "offset", d.From, "end", d.To)
	}
	for _, text := range found.Notes {
		s.Broker.log.Warn("taking over from nsqd", "topic", s.topic.Name, "channel", channel, "detail", text)
	}
	s.sum.damaged += found.Damaged
	return err
}

// add writes a message, with a new ID, sooner or later, and returns its position.
func (s *staging) add(log *journal.Log, kind journal.Kind, m takeover.Message) (pos uint64, err error) {
	full := len(s.frames)+len(m.Body) > takenFrames || kind != journal.Messages
	if s.log != log || s.record.Kind != kind || full {
		if err := s.flush(); err != nil {
			return 0, err
		}
		s.log = log
		s.record = journal.Record{Kind: kind, Position: log.End(), FirstID: s.id, Published: m.Published}
	}
	// #nosec G115 -- counts of messages in memory, never negative, and positions of 64 bits
	pos = s.record.Position + uint64(s.record.Count)
	s.frames = protocol.AppendMessage(s.frames, m.Published, 1, s.id, m.Body)
	s.record.Count++
	s.id++
	s.read++
	return pos, nil
}

func (s *staging) flush() error {
	if s.record.Count == 0 {
		return nil
	}
	s.record.Frames = [][]byte{s.frames}
	err := s.log.Commit([]journal.Record{s.record}, false)
	s.record, s.frames = journal.Record{}, s.frames[:0]
	return err
}
