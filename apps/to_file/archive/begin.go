package archive

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"
)

// errTaken says that a file of this name cannot be ours to write.
var errTaken = errors.New("name is taken")

// begin opens a revision of the file called base, which may exist already if
// it can be continued, or returns errTaken.
func (a *Archive) begin(base string, rev int, now time.Time) (*openFile, error) {
	rel := Revision(base, rev)
	if !filepath.IsLocal(rel) {
		return nil, fmt.Errorf("file name %q: must lie below the output directory", rel)
	}
	if err := a.checkFree(rel); err != nil {
		return nil, err
	}
	o := &openFile{
		a: a, path: filepath.Join(a.work, rel), state: state{name: base, opened: now},
		id: identity{
			Version: markerVersion, Topic: a.name.topic, Host: a.name.host, File: rel, Name: base, Revision: rev,
			Format: a.format.String(), Compression: a.compression.String(), Sidecar: a.sidecar,
			Continued: !a.exclusive, Opened: now,
		},
	}
	if a.sidecar {
		o.sum = sha256.New()
	}
	if err := a.makeDirs(filepath.Dir(o.path)); err != nil {
		return nil, err
	}
	if err := o.mark(); err != nil {
		return nil, err
	}
	if err := o.open(); err != nil {
		o.withdraw()
		return nil, err
	}
	return o, nil
}

// checkFree looks for files that could not be continued. Those that appear
// later are found when they are met.
func (a *Archive) checkFree(rel string) error {
	var taken []string
	if a.exclusive {
		taken = append(taken, filepath.Join(a.work, rel))
	}
	if a.moves() {
		// A file that could never be moved under its own name is better not begun.
		taken = append(taken, filepath.Join(a.output, rel))
	}
	if a.sidecar {
		taken = append(taken, filepath.Join(a.output, rel)+sidecarSuffix)
	}
	for _, path := range taken {
		there, err := a.fs.Exists(path)
		if err != nil {
			return fmt.Errorf("look for a finished file: %w", err)
		}
		if there {
			return errTaken
		}
	}
	return nil
}

// mark makes the file's marker.
func (o *openFile) mark() error {
	m, err := o.a.lockMarker(o.a.work, o.id.File)
	if errors.Is(err, ErrLocked) {
		if o.a.name.hasRevision {
			return errTaken
		}
		return nil // there is but this one name: both write to it
	}
	if err != nil {
		return err
	}
	switch _, _, err := m.read(); {
	case errors.Is(err, errBlank):
	case err != nil:
		m.leave()
		return err
	case o.a.name.hasRevision:
		m.leave()
		return errTaken // an unfinished file that was not this one's to mend
	}
	o.marker = m
	if o.id.Before, err = o.sizeBefore(); err == nil {
		err = m.begin(o.id)
	}
	if err != nil {
		o.withdraw()
		return err
	}
	return nil
}

// sizeBefore is how long the file is that is to be continued. What is in it then is
// not for a later start to judge: another format may have been used.
func (o *openFile) sizeBefore() (int64, error) {
	if o.a.exclusive {
		return 0, nil
	}
	f, err := o.a.fs.Open(o.path, Existing)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("open file: %w", err)
	}
	size, err := f.Size()
	if err := errors.Join(err, f.Close()); err != nil {
		return 0, fmt.Errorf("look at %s: %w", o.path, err)
	}
	return size, nil
}

// open opens the file. On an error, it is closed again.
func (o *openFile) open() error {
	mode := Continue
	if o.a.exclusive {
		mode = Create
	}
	f, err := o.a.fs.Open(o.path, mode)
	if errors.Is(err, fs.ErrExist) {
		return errTaken
	}
	if err != nil {
		return fmt.Errorf("open file: %w", err)
	}
	o.f = f
	err = o.adopt()
	if err == nil {
		if err = o.a.fs.SyncDir(filepath.Dir(o.path)); err != nil {
			err = fmt.Errorf("sync directory of %s: %w", o.path, err)
		}
	}
	if err != nil {
		_ = f.Close() // nothing of ours is in it
		if o.a.exclusive {
			_ = o.a.fs.Remove(o.path) // and nothing of anybody's
		}
	}
	return err
}

// adopt looks at what the file holds already.
func (o *openFile) adopt() error {
	if o.a.exclusive {
		return nil // it is new
	}
	if _, err := o.f.Lock(false); err != nil {
		return err
	}
	size, err := o.f.Size()
	if err != nil {
		return fmt.Errorf("look at %s: %w", o.path, err)
	}
	if o.a.limits.size > 0 && size > o.a.limits.size {
		return errTaken
	}
	o.state.bytes = size
	return o.mendTail()
}

// withdraw takes the marker of a file back that was not begun.
func (o *openFile) withdraw() {
	if o.marker != nil {
		_ = o.marker.drop() // if it stays, the next start finds no file to it
		o.marker = nil
	}
}
