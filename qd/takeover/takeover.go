// Package takeover finds and reads what nsqd left in a data directory: its
// topics, channels, pauses and the messages in its disk queues.
//
// A takeover must neither lose a message nor, but for what a crash of nsqd had
// left undecided, repeat one, whenever the process is killed. Its steps are:
//
//  1. Find, and Read every queue, writing what comes to where it does not
//     count yet. Killed here, the next start finds nsqd's files as they were.
//  2. Commit, by one atomic rename that makes what was written count and also
//     notes, durably, that nsqd's files are to be set aside.
//  3. SetAside, and then take that note back. Killed here, the next start sees
//     the note and calls Complete in place of Find. Without the note it must
//     not: somebody may have gone back to nsqd meanwhile, and what it left
//     then is to be taken over too.
//
// nsqd's files are never written to, not even by go-diskqueue, which removes
// what it has read: it is given hard links (copies where there can be none) in
// a scratch folder inside the data directory.
//
// An nsqd that is running holds a flock on the directory. Nothing here looks
// for it: the caller holds the same lock while it uses this package, so nsqd
// has ended and cannot start.
package takeover

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/millrace-mq/millrace/protocol"
)

// Source is what nsqd left in a directory. It does not change, and may be used
// by several goroutines at once, until SetAside is called.
type Source struct {
	dir    string
	topics []Topic
	queues map[string]queue // by nsqd's name: topic, or topic:channel
	notes  []string
}

// Topic is a topic of nsqd's.
type Topic struct {
	Name     string
	Paused   bool
	Channels []Channel
}

// Channel is a channel of nsqd's.
type Channel struct {
	Name   string
	Paused bool
}

// Find returns what nsqd left in dir, or nil if it left no nsqd.dat there, or
// none that was not set aside already. Where there is no nsqd.dat, the
// nsqd.<worker-id>.dat of nsqd before 1.0 takes its place. An nsqd.dat that
// cannot be understood is an error, as it is to nsqd: to take it for an empty
// one would put all its messages out of the way.
//
// Find removes what an earlier Read, killed in the middle, left in dir.
func Find(dir string) (*Source, error) {
	if err := removeScratch(dir); err != nil {
		return nil, err
	}
	left, err := list(dir)
	if err != nil || len(left.metadata) == 0 {
		return nil, err
	}
	name, text, err := readMetadata(dir, left.metadata)
	if err != nil {
		return nil, err
	}
	s := &Source{dir: dir, queues: left.queues}
	for _, other := range left.metadata {
		if other != name {
			s.note("%s is not used, since there is %s", other, name)
		}
	}
	if err := s.parse(text); err != nil {
		return nil, fmt.Errorf("understanding %s: %w", filepath.Join(dir, name), err)
	}
	s.noteUnread(left)
	return s, nil
}

// Topics returns the topics and their channels, in nsqd's order. There are no
// #ephemeral ones, which nsqd does not keep, and none whose names are not
// valid, which nsqd passes over too. The result is the caller's to read only.
func (s *Source) Topics() []Topic { return s.topics }

// Notes are what an operator should know before anything is read, a sentence
// each: invalid names, and files with messages that no topic or channel leads
// to. They stay unread, and are set aside with the rest.
func (s *Source) Notes() []string { return s.notes }

func (s *Source) note(format string, args ...any) {
	s.notes = append(s.notes, fmt.Sprintf(format, args...))
}

// readMetadata returns the contents of nsqd.dat or, if there is none, of the
// older files, provided that they agree.
func readMetadata(dir string, names []string) (name string, text []byte, err error) {
	for i, n := range names { // nsqd.dat is the first
		// #nosec G304 -- on the data path; names of topics and channels have no slash
		other, err := os.ReadFile(filepath.Join(dir, n))
		switch {
		case err != nil:
			return "", nil, fmt.Errorf("reading what nsqd left: %w", err)
		case n == metadataFile:
			return n, other, nil
		case i > 0 && !bytes.Equal(text, other):
			return "", nil, fmt.Errorf("reading what nsqd left in %s: %s and %s differ; move the wrong one away", dir, name, n)
		}
		name, text = n, other
	}
	return name, text, nil
}

// parse reads topics and channels. The version, a string or in old files a
// number, is no concern: the rest has been the same in all of them.
func (s *Source) parse(text []byte) error {
	var m *struct {
		Topics []struct {
			Name     string `json:"name"`
			Paused   bool   `json:"paused"`
			Channels []struct {
				Name   string `json:"name"`
				Paused bool   `json:"paused"`
			} `json:"channels"`
		} `json:"topics"`
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return err
	}
	if m == nil {
		return errors.New("it is null")
	}
	at := make(map[string]int)
	for _, t := range m.Topics {
		if !s.wanted("topic", t.Name) {
			continue
		}
		i, ok := at[t.Name]
		if !ok {
			i = len(s.topics)
			at[t.Name] = i
			s.topics = append(s.topics, Topic{Name: t.Name})
		}
		topic := &s.topics[i]
		topic.Paused = topic.Paused || t.Paused
		for _, c := range t.Channels {
			if s.wanted("channel", c.Name) {
				topic.add(Channel{Name: c.Name, Paused: c.Paused})
			}
		}
	}
	return nil
}

// add adds a channel. One that is named twice is one channel, as to nsqd.
func (t *Topic) add(c Channel) {
	for i := range t.Channels {
		if t.Channels[i].Name == c.Name {
			t.Channels[i].Paused = t.Channels[i].Paused || c.Paused
			return
		}
	}
	t.Channels = append(t.Channels, c)
}

func (s *Source) wanted(what, name string) bool {
	if !protocol.ValidName(name) {
		s.note("%q is not a valid %s name", name, what)
		return false
	}
	return !protocol.Ephemeral(name)
}

// noteUnread reports the files that nobody will ask for.
func (s *Source) noteUnread(left listing) {
	named := make(map[string]bool)
	for _, t := range s.topics {
		named[t.Name] = true
		for _, c := range t.Channels {
			named[queueName(t.Name, c.Name)] = true
		}
	}
	for _, name := range left.order {
		if q := left.queues[name]; !named[name] && len(q.data) > 0 {
			s.note("queue %s: no topic or channel is called so; its %d files are not read", name, len(q.data))
		}
	}
	for _, name := range left.bad {
		s.note("%s: nsqd had given this file up as damaged; it is not read", name)
	}
}
