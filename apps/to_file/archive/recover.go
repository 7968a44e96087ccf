package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/millrace-mq/millrace/apps/internal/record"
)

// Recover makes whole what earlier runs have left unfinished of this topic's
// and host's files, and brings it to the output directory: what a crash has cut
// off in a write is cut off behind the last whole member, record or line. It
// was never finished, so the daemon delivers it again. Files that another
// process is writing are left to it. Prepare calls it.
func (a *Archive) Recover() error {
	if a.err != nil {
		return a.err
	}
	err := a.recoverMarked(a.work)
	if err == nil && a.moves() {
		// An earlier run may have had no work directory.
		err = a.recoverMarked(a.output)
	}
	if err == nil && a.moves() {
		err = a.recoverStrays("", a.name.depth())
	}
	a.tidy()
	return a.failed(err)
}

// tidy removes the directories of the markers if they are empty, which is all
// that is wanted of them: others may have markers in them.
func (a *Archive) tidy() {
	_ = a.fs.RemoveDir(filepath.Join(a.work, markerDir))
	if a.moves() {
		_ = a.fs.RemoveDir(filepath.Join(a.output, markerDir))
	}
}

// recoverMarked goes through the markers below dir.
func (a *Archive) recoverMarked(dir string) error {
	names, _, err := a.fs.List(filepath.Join(dir, markerDir))
	if err != nil {
		return fmt.Errorf("look for unfinished files: %w", err)
	}
	for _, name := range names {
		if !ofTopic(name, a.name.topic) {
			continue
		}
		m, err := a.lockMarkerAt(filepath.Join(dir, markerDir, name))
		if errors.Is(err, ErrLocked) {
			a.log.Info("leaving a file to the process that writes it", "file", name)
			continue
		}
		if err == nil {
			err = a.recoverMarker(dir, m)
		}
		if err != nil {
			return fmt.Errorf("finish what an earlier run has left: %w", err)
		}
	}
	return nil
}

// recoverMarker makes whole what m speaks of, and owns m.
func (a *Archive) recoverMarker(dir string, m *marker) error {
	id, p, err := m.read()
	if errors.Is(err, errBlank) {
		return m.drop()
	}
	if err == nil && a.leaveAlone(id) {
		m.leave()
		return nil
	}
	if err == nil {
		err = a.recoverFile(&ended{dir: dir, id: id, now: p, marker: m, recovered: true})
	}
	if err != nil {
		m.leave() // does nothing if it is dropped
	}
	return err
}

// leaveAlone reports whether an unfinished file is somebody else's.
func (a *Archive) leaveAlone(id identity) bool {
	switch {
	case id.Version != markerVersion:
		a.log.Warn("leaving an unfinished file of another version of this program alone", "file", id.File)
	case id.Host != a.name.host:
		a.log.Warn("leaving an unfinished file of another host alone; --host-identifier can say that it is this one",
			"file", id.File, "host", id.Host)
	case !filepath.IsLocal(id.File) || !filepath.IsLocal(Revision(id.Name, id.Revision)):
		a.log.Warn("leaving an unfinished file outside of the directory alone", "file", id.File)
	default:
		return false
	}
	return true
}

// recoverFile makes a file whole and brings it to its place.
func (a *Archive) recoverFile(e *ended) error {
	path := filepath.Join(e.dir, e.id.File)
	there, err := a.fs.Exists(path)
	if err != nil {
		return fmt.Errorf("look for an unfinished file: %w", err)
	}
	if !there {
		if e.now.Final == "" {
			return e.marker.drop() // it was never begun, or somebody has taken it away
		}
		return a.settle(e)
	}
	kept, err := a.mend(e, path)
	switch {
	case errors.Is(err, ErrLocked):
		a.log.Info("leaving an unfinished file to the process that writes it", "file", path)
		e.marker.leave()
		return nil
	case err != nil:
		return fmt.Errorf("make %s whole: %w", path, err)
	case !kept:
		return e.marker.drop()
	}
	return a.settle(e)
}

// mend cuts off a file behind what is whole in it. It reports whether there is
// a file to be settled then: one without anything in it is removed. ErrLocked
// says that somebody has the file open.
func (a *Archive) mend(e *ended, path string) (kept bool, err error) {
	format, err := record.ParseFormat(e.id.Format)
	if err != nil {
		return false, err
	}
	c, err := parseCompression(e.id.Compression)
	if err != nil {
		return false, err
	}
	f, err := a.fs.Open(path, Existing)
	if err != nil {
		return false, err
	}
	empty, err := a.mendOpen(e, f, format, c)
	if err := errors.Join(err, f.Close()); err != nil {
		return false, err
	}
	if empty && !e.id.Continued {
		return false, a.forget(path)
	}
	return true, nil
}

func (a *Archive) mendOpen(e *ended, f File, format record.Format, c Compression) (empty bool, err error) {
	alone, err := f.Lock(true)
	if err != nil {
		return false, err
	}
	if !alone {
		return false, ErrLocked
	}
	size, err := f.Size()
	if err != nil {
		return false, err
	}
	from := max(e.now.Size, e.id.Before)
	if from > size {
		// Somebody has cut it off; what was noted of it means nothing any more.
		from, e.now.Lines, e.now.Bytes = 0, 0, 0
	}
	end, rest, err := whole(f, format, c, from, size)
	if err == nil && end == from && e.id.Continued {
		end, err = lineEnd(f, from) // another process may have stopped in a line there
	}
	if err != nil {
		return false, err
	}
	e.now.Size = end
	e.now.Lines += rest.lines
	e.now.Bytes += rest.bytes
	if end < size {
		a.log.Warn("cutting off what a crash has left half written; it was not finished and comes again",
			"file", filepath.Join(e.dir, e.id.File), "bytes", size-end, "kept", end)
		if err := f.Truncate(end); err != nil {
			return false, err
		}
	}
	// What is whole may never have been synced: without a marker, nobody would make
	// the file whole once more if the power were cut.
	return end == 0, f.Sync()
}

// recoverStrays goes through the work directory for files of this pattern that
// have no marker, as an older version has left them. Everything there is
// unfinished, so that these are few.
func (a *Archive) recoverStrays(below string, depth int) error {
	files, dirs, err := a.fs.List(filepath.Join(a.work, below))
	if err != nil {
		return fmt.Errorf("look for unfinished files: %w", err)
	}
	for _, name := range files {
		if depth > 0 {
			break
		}
		if err := a.recoverStray(filepath.Join(below, name)); err != nil {
			return fmt.Errorf("finish what an earlier run has left: %w", err)
		}
	}
	for _, name := range dirs {
		if depth == 0 || strings.HasPrefix(name, ".") {
			continue
		}
		if err := a.recoverStrays(filepath.Join(below, name), depth-1); err != nil {
			return err
		}
	}
	return nil
}

func (a *Archive) recoverStray(rel string) error {
	base, rev, ok := a.name.parse(rel)
	if !ok {
		return nil
	}
	m, err := a.lockMarker(a.work, rel)
	if errors.Is(err, ErrLocked) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, _, err := m.read(); !errors.Is(err, errBlank) {
		m.leave()
		return err // or it is not this one's to mend, as has been said
	}
	err = a.recoverFile(&ended{dir: a.work, marker: m, recovered: true, id: identity{
		Version: markerVersion, Topic: a.name.topic, Host: a.name.host, File: rel, Name: base, Revision: rev,
		Format: a.format.String(), Compression: a.compression.String(), Sidecar: a.sidecar, Continued: !a.exclusive,
	}})
	if err != nil {
		m.leave()
	}
	return ignoreMissing(err)
}

// ignoreMissing is for files that another process has finished meanwhile.
func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
