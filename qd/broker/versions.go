package broker

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/millrace-mq/millrace/qd/acks"
	"github.com/millrace-mq/millrace/qd/journal"
	"github.com/millrace-mq/millrace/qd/spill"
)

// checkVersions refuses a data path on which anything is of a version that this
// program does not know, before a byte of it is changed: what it would mend first,
// and what it would write down last, is not for it to touch. What else is wrong is
// left to those who read the files.
func (b *Broker) checkVersions() error {
	err := b.checkVersion(filepath.Join(b.DataPath, metaFile), metaVersion)
	if err == nil {
		err = b.checkVersion(filepath.Join(b.DataPath, takenNote), noteVersion)
	}
	root := filepath.Join(b.DataPath, topicsDir)
	folders, _ := b.FS.List(root)
	for _, base := range folders {
		// What is left of a deleted topic, and what was staged and does not count, is deleted.
		if _, _, ok := parseTopicDir(strings.TrimSuffix(base, stagedSuffix)); ok && err == nil {
			err = b.checkTopicVersions(filepath.Join(root, base))
		}
	}
	queues, _ := b.FS.List(b.spill.Dir)
	for _, base := range queues {
		if err == nil {
			err = spill.CheckVersions(filepath.Join(b.spill.Dir, base))
		}
	}
	if err != nil {
		return fmt.Errorf("%w: start the newer qd again that has written it, or one with a backup of before; nothing has been changed", err)
	}
	return nil
}

func (b *Broker) checkTopicVersions(dir string) error {
	if err := b.checkVersion(filepath.Join(dir, topicFile), topicFileVersion); err != nil {
		return err
	}
	for _, log := range []string{"log", "side"} {
		if err := journal.CheckVersion(b.FS, filepath.Join(dir, log)); err != nil {
			return err
		}
	}
	channels, _ := b.FS.List(filepath.Join(dir, "acks"))
	for _, name := range channels {
		if strings.Contains(name, ".damaged-") {
			continue // a copy that nobody reads
		}
		if err := acks.CheckVersion(b.FS, filepath.Join(dir, "acks", name)); err != nil {
			return err
		}
	}
	return nil
}

// checkVersion looks at the version in a file of JSON. The rest of the file may mean
// anything in a version that is not known, so nothing else is read.
func (b *Broker) checkVersion(path string, known int) error {
	text, err := readFile(b.FS, path)
	if err != nil {
		return nil
	}
	var file struct {
		Version int `json:"version"`
	}
	if json.Unmarshal(text, &file) == nil && file.Version > known {
		return fmt.Errorf("%s: unknown format version %d, this program knows %d", path, file.Version, known)
	}
	return nil
}
