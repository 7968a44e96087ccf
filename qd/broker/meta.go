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

// metaFile is where the broker writes down what it has: topics, channels,
// pauses and, at an orderly stop, how much of each lies on disk.
const metaFile = "qd.json"

// metaVersion is that of the file's format.
const metaVersion = 1

type meta struct {
	Version int `json:"version"`
	// Clean says that the file was written by an orderly stop: counts are
	// right and everything is on disk.
	Clean bool `json:"clean"`
	// Reserved is the highest number that may have been drawn: for a topic, or
	// for an extent of message IDs.
	Reserved uint64 `json:"reserved"`
	// Instance tells this data path from others: random, made once.
	Instance string      `json:"instance,omitempty"`
	Topics   []topicMeta `json:"topics"`
}

type topicMeta struct {
	Name     string           `json:"name"`
	Number   uint64           `json:"number"`
	Policy   Policy           `json:"policy,omitzero"`
	State    queue.TopicState `json:"state"`
	Backlog  backlogMeta      `json:"backlog"`
	Channels []channelMeta    `json:"channels"`
}

type channelMeta struct {
	Name        string             `json:"name"`
	MaxAttempts int                `json:"max_attempts,omitempty"`
	State       queue.ChannelState `json:"state"`
	Backlog     backlogMeta        `json:"backlog"`
}

// backlogMeta is what an orderly stop left in the disk queues of a topic or
// channel.
type backlogMeta struct {
	Disk   queue.Disk `json:"disk"`
	Parked int        `json:"parked,omitempty"` // messages
}

func readMeta(fsys disk.FS, path string) (m meta, err error) {
	text, err := readFile(fsys, path)
	if errors.Is(err, fs.ErrNotExist) {
		return meta{Version: metaVersion, Clean: true}, nil
	}
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("%s: %w", path, err)
	}
	if m.Version != metaVersion {
		return m, fmt.Errorf("%s: format version %d; this program reads version %d", path, m.Version, metaVersion)
	}
	if !m.Clean {
		m.forgetCounts() // files of older programs have them
	}
	if err := m.check(); err != nil {
		return m, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// forgetCounts takes out what of the topics' backlogs was for whom: that holds only
// as long as nothing comes and goes, as after an orderly stop. After a crash what
// had spilled is for all channels.
func (m *meta) forgetCounts() {
	for i := range m.Topics {
		t := &m.Topics[i]
		t.State.Cuts, t.State.PausedAfter = nil, 0
		for j := range t.Channels {
			t.Channels[j].State.Skip = 0
		}
	}
}

// check refuses what no broker has written: better not to start than to lose
// or repeat messages over somebody's slip in an editor.
func (m meta) check() error {
	if m.Instance != "" && (!protocol.ValidName(m.Instance) || protocol.Ephemeral(m.Instance)) {
		return fmt.Errorf("instance %q: must be 1 to 64 letters, digits and .-_ ; remove it, and another is made", m.Instance)
	}
	names, numbers := make(map[string]bool), make(map[uint64]bool)
	for _, t := range m.Topics {
		if !protocol.ValidName(t.Name) {
			return fmt.Errorf("%q is not a topic name", t.Name)
		}
		if names[t.Name] || numbers[t.Number] || t.Number > m.Reserved {
			return fmt.Errorf("topic %s: its name or number %d is there twice, or the number was never given out", t.Name, t.Number)
		}
		names[t.Name], numbers[t.Number] = true, true
		if err := t.check(); err != nil {
			return fmt.Errorf("topic %s: %w", t.Name, err)
		}
	}
	return nil
}

func (t topicMeta) check() error {
	messages := t.Backlog.Disk.Messages
	inRange := func(n int) bool { return n >= 0 && n <= messages }
	ok := t.Backlog.check() && inRange(t.State.PausedAfter)
	for _, c := range t.State.Cuts {
		ok = ok && c.After >= 0 && c.Messages >= 0
	}
	channels := make(map[string]bool)
	for _, c := range t.Channels {
		if !protocol.ValidName(c.Name) || channels[c.Name] {
			return fmt.Errorf("channel %q: not a channel name, or there twice", c.Name)
		}
		channels[c.Name] = true
		ok = ok && c.Backlog.check() && inRange(c.State.Skip)
	}
	if !ok {
		return errors.New("the counts of its messages cannot be right")
	}
	return nil
}

func (b backlogMeta) check() bool {
	return b.Disk.Blocks >= 0 && b.Disk.Messages >= b.Disk.Blocks && b.Parked >= 0
}

// saveNow writes down what the broker has. What is written later was described
// later.
func (b *Broker) saveNow() error {
	b.saving.Lock()
	defer b.saving.Unlock()
	return b.save(b.describe())
}

// save replaces the file as a whole, so that a crash leaves the old one or the
// new one. Under saving, or when nobody else is there.
func (b *Broker) save(m meta) error {
	text, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return fmt.Errorf("encoding %s: %w", metaFile, err)
	}
	if err := replaceFile(b.FS, filepath.Join(b.DataPath, metaFile), text); err != nil {
		return err
	}
	b.reserved.Store(max(b.reserved.Load(), m.Reserved))
	return nil
}
