package broker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/disk"
	"github.com/millrace-mq/millrace/qd/queue"
)

// topicFile is what a topic's folder says of it, besides its messages. It is
// written before whoever made the change is told that it was made.
const topicFile = "topic.json"

// topicFileVersion is that of the file's format.
const topicFileVersion = 1

type topicRecord struct {
	Version  int             `json:"version"`
	Name     string          `json:"name"`
	Number   uint64          `json:"number"`
	Files    uint64          `json:"files"` // the last number given to a channel's file
	Policy   Policy          `json:"policy"`
	State    queue.LogState  `json:"state"`
	Channels []channelRecord `json:"channels"`
}

type channelRecord struct {
	Name        string `json:"name"`
	File        uint64 `json:"file"`
	From        uint64 `json:"from"` // position at which it began
	FromSide    uint64 `json:"from_side"`
	Paused      bool   `json:"paused,omitempty"`
	MaxAttempts int    `json:"max_attempts,omitempty"`

	Pause queue.Pause `json:"pause,omitzero"` // why, while it is paused
}

// currentPause is why the channel is paused; nil if it is not.
func (r *channelRecord) currentPause() *queue.Pause {
	if !r.Paused {
		return nil
	}
	return &r.Pause
}

// describe returns what is to be written down. Under mu.
func (t *Topic) describe() topicRecord {
	r := topicRecord{
		Version: topicFileVersion, Name: t.name, Number: t.number, Files: t.logs.files,
		Policy: t.policy, State: t.core.LogState(),
	}
	for _, c := range t.core.Channels() {
		if h := t.logs.held[c]; h != nil {
			record := channelRecord{Name: c.Name(), File: h.number, From: h.from, FromSide: h.side, MaxAttempts: c.MaxAttempts()}
			if p := c.CurrentPause(); p != nil {
				record.Paused, record.Pause = true, *p
			}
			r.Channels = append(r.Channels, record)
		}
	}
	return r
}

// save writes topic.json if something in it has changed. What is there when it
// returns nil survives a power cut.
func (t *Topic) save() error {
	l := t.logs
	if l == nil || protocol.Ephemeral(t.name) {
		return nil
	}
	l.filing.Lock()
	defer l.filing.Unlock()
	t.mu.Lock()
	if t.gone || l.change == l.filed.Load() {
		t.mu.Unlock()
		return nil
	}
	change, record := l.change, t.describe()
	t.mu.Unlock()
	err := error(nil)
	if !l.made.Load() {
		err = t.broker.makeTopicDir(l.dir)
	}
	if err == nil {
		err = t.broker.writeTopicFile(l.dir, record)
	}
	if err != nil {
		return fmt.Errorf("topic %s: %w", t.name, err)
	}
	l.filed.Store(change)
	l.made.Store(true)
	return nil
}

// makeTopicDir makes a topic's folder.
func (b *Broker) makeTopicDir(dir string) error {
	if err := b.FS.MkdirAll(filepath.Join(dir, "acks")); err != nil {
		return err
	}
	return b.FS.SyncDir(filepath.Dir(dir))
}

// completeTopicDir makes what a topic's folder lacks though topic.json is there:
// a power cut may have kept that name and not the other, and who copies a
// folder may leave out what is empty.
func (b *Broker) completeTopicDir(dir string) error {
	_, err := b.FS.List(filepath.Join(dir, "acks"))
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := b.makeTopicDir(dir); err != nil {
		return err
	}
	return b.FS.SyncDir(dir)
}

func (b *Broker) writeTopicFile(dir string, record topicRecord) error {
	text, err := json.MarshalIndent(record, "", " ")
	if err != nil {
		return fmt.Errorf("encoding %s: %w", topicFile, err)
	}
	return replaceFile(b.FS, filepath.Join(dir, topicFile), text)
}

// replaceFile replaces a file as a whole: a crash leaves the old one or the new
// one.
func replaceFile(fsys disk.FS, path string, text []byte) error {
	temp := path + ".tmp"
	if err := fsys.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	f, err := fsys.Create(temp)
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	err = f.WriteAt(0, text)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = fsys.Rename(temp, path)
	}
	if err == nil {
		err = fsys.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

// readFile reads a whole file.
func readFile(fsys disk.FS, path string) ([]byte, error) {
	f, err := fsys.Open(path)
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	text := make([]byte, size)
	if err == nil && size > 0 {
		_, err = f.ReadAt(text, 0)
	}
	return text, errors.Join(err, f.Close())
}

// removeAll deletes a directory and everything in it.
func removeAll(fsys disk.FS, path string) error {
	err := fsys.Remove(path)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	names, listErr := fsys.List(path)
	if listErr != nil {
		return err // it was no directory
	}
	for _, name := range names {
		if err := removeAll(fsys, filepath.Join(path, name)); err != nil {
			return err
		}
	}
	return fsys.Remove(path)
}

// readTopicFile reads topic.json. ok is false if there is none that is whole:
// then the folder's name and the files in it have to do.
func (b *Broker) readTopicFile(dir string) (r topicRecord, ok bool, err error) {
	path := filepath.Join(dir, topicFile)
	text, err := readFile(b.FS, path)
	if errors.Is(err, fs.ErrNotExist) {
		b.log.Warn("a topic's file is missing; either a crash came while the topic was created, or its policy and pauses are lost", "file", path)
		return r, false, nil
	}
	if err != nil {
		return r, false, fmt.Errorf("reading %s: %w", path, err)
	}
	if err := json.Unmarshal(text, &r); err != nil {
		b.log.Error("a topic's file is damaged; its policy and pauses are lost, its channels begin anew at the oldest message", "file", path, "error", err)
		return topicRecord{}, false, nil
	}
	if r.Version != topicFileVersion {
		return r, false, fmt.Errorf("%s: format version %d; this program reads version %d", path, r.Version, topicFileVersion)
	}
	return r, true, nil
}
