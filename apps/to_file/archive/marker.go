package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"time"
)

// While a file is written, there is a marker for it in markerDir below the
// directory that it is written in. It is made, and on the device, before the
// file is, and goes when the file is finished and where it belongs. So a start
// finds what a crash has left without looking at finished files, however many
// there are.
//
// The marker is locked by who writes the file. Whoever begins, mends or moves a
// file holds its marker; that is what keeps two processes apart.
const markerDir = ".to_file"

// markerVersion changes when an older program would mend a file wrongly.
const markerVersion = 1

// identity is what a marker says of its file, once and for all.
type identity struct {
	Version     int       `json:"version"`
	Topic       string    `json:"topic"`
	Host        string    `json:"host,omitempty"` // if it is in the file's name
	File        string    `json:"file"`           // below the directory
	Name        string    `json:"name"`           // the same, revision left open
	Revision    int       `json:"revision"`
	Format      string    `json:"format"`
	Compression string    `json:"compression"`
	Sidecar     bool      `json:"sidecar,omitempty"`
	Continued   bool      `json:"continued,omitempty"` // other runs write to it too
	Before      int64     `json:"before,omitempty"`    // how long it was then
	Opened      time.Time `json:"opened"`
}

// progress is what a marker says of how far its file has come. It is written
// after every sync, but not itself synced: after a power cut it may be an older
// one, which is as true.
type progress struct {
	Turn  int    `json:"turn"`  // of two places for it, which are written by turns; the higher counts
	Size  int64  `json:"size"`  // of the file; this much is on the device and whole
	Lines int64  `json:"lines"` // messages in that
	Bytes int64  `json:"bytes"` // of the messages, before compression
	First *Stamp `json:"first,omitempty"`
	Last  *Stamp `json:"last,omitempty"`

	Closed time.Time `json:"closed,omitzero"`  // when the file was finished
	Final  string    `json:"final,omitempty"`  // the name that it is to have below the output directory
	Part   string    `json:"part,omitempty"`   // a copy of it that is being made there
	Copied bool      `json:"copied,omitempty"` // it is there, and was copied
}

// Stamp is a message's place in time.
type Stamp struct {
	ID        string `json:"id"`
	Timestamp int64  `json:"timestamp"` // ns since the Unix epoch, as in the lines of JSON
}

// marker is an open, locked marker.
type marker struct {
	fs   FS
	path string
	file LockFile
	turn int // of the last progress that was written
}

// A marker has three parts, each with a block of the disk to itself, so that
// no write of one can harm another: the identity, and two for the progress, one
// of which is always whole.
const (
	partSize     = 4096
	partOverhead = 10 // CRC in hexadecimal, blank, newline
)

func (a *Archive) markerPath(dir, rel string) string {
	sum := sha256.Sum256([]byte(rel))
	return filepath.Join(dir, markerDir, fmt.Sprintf("%s@%x", a.name.topic, sum[:8]))
}

// ofTopic reports whether a marker of that name is one of topic's.
func ofTopic(name, topic string) bool {
	t, _, ok := strings.Cut(name, "@")
	return ok && t == topic
}

// lockMarker returns the marker of the file called rel below dir, or ErrLocked.
func (a *Archive) lockMarker(dir, rel string) (*marker, error) {
	return a.lockMarkerAt(a.markerPath(dir, rel))
}

func (a *Archive) lockMarkerAt(path string) (*marker, error) {
	const tries = 100 // each costs another process its last marker at that moment
	for n := 1; ; n++ {
		if err := a.makeDirs(filepath.Dir(path)); err != nil {
			return nil, err
		}
		f, err := a.fs.Lock(path)
		switch {
		case err == nil:
			return &marker{fs: a.fs, path: path, file: f}, nil
		case errors.Is(err, ErrLocked):
			return nil, ErrLocked
		case !errors.Is(err, fs.ErrNotExist) || n == tries:
			return nil, fmt.Errorf("mark a file as being written: %w", err)
		}
	}
}

// begin writes what the marker says first, and puts it on the device.
func (m *marker) begin(id identity) error {
	err := errors.Join(m.write(0, id), m.writeProgress(progress{}), m.writeProgress(progress{}))
	if err == nil {
		err = m.file.Sync()
	}
	if err == nil {
		err = m.fs.SyncDir(filepath.Dir(m.path))
	}
	if err != nil {
		return fmt.Errorf("mark %s as being written: %w", id.File, err)
	}
	return nil
}

// write puts a part of the marker in its place.
func (m *marker) write(at int64, part any) error {
	text, err := json.Marshal(part)
	if err != nil {
		return err
	}
	if len(text)+partOverhead > partSize {
		return errors.New("the name of the file is too long")
	}
	line := fmt.Appendf(nil, "%08x %s\n", crc32.ChecksumIEEE(text), text)
	_, err = m.file.WriteAt(line, at)
	return err
}

func (m *marker) writeProgress(p progress) error {
	p.Turn = m.turn + 1
	if err := m.write(progressAt(p.Turn), p); err != nil {
		return err // the other one must not be touched before this one is whole
	}
	m.turn++
	return nil
}

func progressAt(turn int) int64 { return partSize * int64(1+turn%2) }

// update writes p. That there is no space for it is no error: what is there is
// true as well.
func (m *marker) update(p progress) error {
	if err := m.writeProgress(p); err != nil && !isNoSpace(err) {
		return fmt.Errorf("note how far a file has come: %w", err)
	}
	return nil
}

// promise writes p and puts it on the device.
func (m *marker) promise(p progress) error {
	err := m.writeProgress(p)
	if err == nil {
		err = m.file.Sync()
	}
	if err != nil {
		return fmt.Errorf("note what a finished file is called: %w", err)
	}
	return nil
}

// errBlank says that a marker was never written whole: its file was not begun.
var errBlank = errors.New("blank")

// read returns what the marker says, or errBlank.
func (m *marker) read() (id identity, p progress, err error) {
	if err := m.readPart(0, &id); err != nil {
		return id, p, err
	}
	for turn := range 2 {
		var q progress
		err := m.readPart(progressAt(turn), &q)
		if err != nil && !errors.Is(err, errBlank) {
			return id, p, err
		}
		if err == nil && q.Turn > m.turn {
			p, m.turn = q, q.Turn
		}
	}
	return id, p, nil
}

func (m *marker) readPart(at int64, part any) error {
	b := make([]byte, partSize)
	n, err := m.file.ReadAt(b, at)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read a marker: %w", err)
	}
	line, _, whole := bytes.Cut(b[:n], []byte("\n"))
	var sum uint32
	if !whole || len(line) < partOverhead-1 {
		return errBlank
	}
	if _, err := fmt.Sscanf(string(line[:8]), "%08x", &sum); err != nil || sum != crc32.ChecksumIEEE(line[9:]) {
		return errBlank
	}
	if json.Unmarshal(line[9:], part) != nil {
		return errBlank
	}
	return nil
}

// drop removes the marker: its file is whole and where it belongs. The lock
// goes last, so that nobody locks a name that is about to go.
func (m *marker) drop() error {
	err := m.fs.Remove(m.path)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // somebody has cleared the directory
	}
	if err := errors.Join(err, m.file.Close()); err != nil {
		return fmt.Errorf("remove a marker: %w", err)
	}
	return nil
}

// leave gives the marker back as it is, for the next start.
func (m *marker) leave() {
	_ = m.file.Close() // what it says was synced when that mattered
}
