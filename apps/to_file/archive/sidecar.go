package archive

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"path/filepath"
	"time"
)

// sidecarSuffix is what a sidecar's name has behind its file's.
const sidecarSuffix = ".json"

// Sidecar is the content of the FILE.json beside a finished file.
type Sidecar struct {
	Name            string    `json:"name"` // of the file, without its directory
	Topic           string    `json:"topic"`
	Format          string    `json:"format"`
	Compression     string    `json:"compression"`
	Lines           int64     `json:"lines"`            // messages in the file
	Bytes           int64     `json:"bytes"`            // of these, before compression
	CompressedBytes int64     `json:"compressed_bytes"` // the file's length
	First           *Stamp    `json:"first,omitempty"`  // messages, as they came in; missing in an empty file
	Last            *Stamp    `json:"last,omitempty"`
	Opened          time.Time `json:"opened,omitzero"`
	Closed          time.Time `json:"closed,omitzero"`
	SHA256          string    `json:"sha256"` // of the file as it is
	// Recovered says that a crash had cut the file off. Lines behind the last
	// sync that was noted are then counted by their newlines, and Last may be an
	// earlier one than the last message.
	Recovered bool `json:"recovered,omitempty"`
}

// writeSidecar puts a sidecar beside the file at path, unless there is
// something of that name already. It appears whole or not at all.
func (a *Archive) writeSidecar(path string, s Sidecar) error {
	s.Name = filepath.Base(path)
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	dir, to := filepath.Dir(path), path+sidecarSuffix
	tmp := filepath.Join(dir, "."+s.Name+sidecarSuffix+partSuffix)
	if err := a.discard(tmp); err != nil {
		return fmt.Errorf("write the sidecar of %s: %w", path, err)
	}
	there, err := a.fs.Exists(to)
	if there {
		return a.fs.SyncDir(dir) // a crash may have come before that
	}
	if err == nil {
		err = a.writeNew(tmp, append(text, '\n'))
	}
	if err == nil {
		err = a.place(tmp, to)
	}
	if err == nil {
		err = a.fs.SyncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("write the sidecar of %s: %w", path, err)
	}
	return nil
}

// writeNew makes a file that is on the device when it returns.
func (a *Archive) writeNew(path string, content []byte) error {
	f, err := a.fs.Open(path, Create)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// sha256Of reads a file through.
func (a *Archive) sha256Of(path string) (string, error) {
	f, err := a.fs.Open(path, Existing)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	_, err = io.Copy(h, reader(f))
	if err := errors.Join(err, f.Close()); err != nil {
		return "", err
	}
	return sumOf(h), nil
}

func sumOf(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// reader reads a file from its beginning to its end.
func reader(f io.ReaderAt) io.Reader { return io.NewSectionReader(f, 0, 1<<62) }
