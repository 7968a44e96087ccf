package archive

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
)

// ended is a file that is written and closed, and not yet where it belongs.
// Whatever is done with it can be done again from the beginning: after a crash,
// or when there was no space.
type ended struct {
	dir       string // that it was written in
	id        identity
	now       progress
	marker    *marker
	sum       string // SHA-256; "" if the file has to be read for it
	recovered bool
}

// settle brings a file to its place, with its sidecar, and drops its marker.
func (a *Archive) settle(e *ended) error {
	path := filepath.Join(e.dir, e.id.File)
	if e.dir != a.output {
		var err error
		if path, err = a.move(e, path); err != nil {
			return err
		}
	}
	if e.id.Sidecar && path != "" {
		if err := a.describe(e, path); err != nil {
			return err
		}
	}
	return e.marker.drop()
}

// describe writes the sidecar of the file at path, unless somebody has taken
// the file away.
func (a *Archive) describe(e *ended, path string) error {
	there, err := a.fs.Exists(path)
	if err != nil || !there {
		return err
	}
	if e.sum == "" {
		if e.sum, err = a.sha256Of(path); err != nil {
			return fmt.Errorf("read a finished file: %w", err)
		}
	}
	return a.writeSidecar(path, Sidecar{
		Topic: e.id.Topic, Format: e.id.Format, Compression: e.id.Compression,
		Lines: e.now.Lines, Bytes: e.now.Bytes, CompressedBytes: e.now.Size, First: e.now.First, Last: e.now.Last,
		Opened: e.id.Opened, Closed: e.now.Closed, SHA256: e.sum, Recovered: e.recovered,
	})
}

// move moves a finished file from the work directory to the output directory
// under the first revision that is free there, and returns where it is, or "" if
// somebody has taken it away. Nothing is ever replaced.
func (a *Archive) move(e *ended, from string) (string, error) {
	there, err := a.fs.Exists(from)
	if err == nil && e.now.Part != "" {
		err = a.endCopy(e, from)
	}
	if err == nil && e.now.Copied && there {
		err = a.forget(from)
	}
	if err != nil {
		return "", fmt.Errorf("move %s: %w", from, err)
	}
	if !there && e.now.Final == "" {
		a.log.Warn("a file that was to be moved is gone", "file", from)
		return "", nil
	}
	if !there || e.now.Copied {
		return filepath.Join(a.output, e.now.Final), nil
	}
	rel := e.id.File
	for rev := e.id.Revision; ; {
		to := filepath.Join(a.output, rel)
		err := a.moveTo(e, from, to, rel)
		if err == nil {
			a.log.Info("moved a finished file", "file", to)
			return to, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("move %s to %s: %w", from, to, err)
		}
		rev++
		rel = Revision(e.id.Name, rev)
	}
}

// moveTo moves a file to a name, or returns fs.ErrExist. A hard link, unlike a
// rename, cannot replace a file that another process has just put there.
func (a *Archive) moveTo(e *ended, from, to, rel string) error {
	taken, err := a.fs.Exists(to)
	if err != nil {
		return err
	}
	if taken {
		return a.alreadyAt(from, to)
	}
	if err := a.makeDirs(filepath.Dir(to)); err != nil {
		return err
	}
	e.now.Final = rel
	if err := e.marker.promise(e.now); err != nil {
		return err
	}
	err = a.fs.Link(from, to)
	if noLinks(err) {
		if err = a.fs.Rename(from, to); err == nil {
			return errors.Join(a.fs.SyncDir(filepath.Dir(to)), a.fs.SyncDir(filepath.Dir(from)))
		}
	}
	switch {
	case errors.Is(err, syscall.EXDEV):
		return a.copyTo(e, from, to)
	case err != nil:
		return err
	}
	return a.forgetMoved(from, to)
}

// alreadyAt ends a move that a crash, or a failure, has stopped between the link and the
// removal. It returns fs.ErrExist if what has the new name is another file.
func (a *Archive) alreadyAt(from, to string) error {
	if same, err := a.fs.Same(from, to); err != nil {
		return err
	} else if !same {
		return fs.ErrExist
	}
	// By a symbolic link, or a second mount, two paths may be one name. It is the only one
	// that the file has.
	if one, err := a.fs.Same(filepath.Dir(from), filepath.Dir(to)); err != nil {
		return err
	} else if one && filepath.Base(from) == filepath.Base(to) {
		return a.fs.SyncDir(filepath.Dir(to))
	}
	return a.forgetMoved(from, to)
}

// forgetMoved removes the old name of a file. It goes when the new one is safe,
// and for good: were it to come back, and the finished file be taken away by
// then, a restart would finish it a second time.
func (a *Archive) forgetMoved(from, to string) error {
	if err := a.fs.SyncDir(filepath.Dir(to)); err != nil {
		return err
	}
	return a.forget(from)
}

// noLinks reports whether a file system knows no hard links, as FAT and many
// network file systems do not.
func noLinks(err error) bool {
	return errors.Is(err, syscall.EPERM) || errors.Is(err, errors.ErrUnsupported)
}

// forget removes a file for good.
func (a *Archive) forget(path string) error {
	if err := a.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return a.fs.SyncDir(filepath.Dir(path))
}

// partSuffix ends the names of files that are not whole yet.
const partSuffix = ".part"

// copyTo moves a file to another file system: what is not whole has a hidden
// name of its own, which the marker remembers.
func (a *Archive) copyTo(e *ended, from, to string) error {
	tmp := filepath.Join(filepath.Dir(to), "."+filepath.Base(to)+"."+strings.ToLower(rand.Text()[:8])+partSuffix)
	if e.now.Part != "" { // the name of an earlier attempt will do: every revision is in one directory
		tmp = filepath.Join(a.output, e.now.Part)
	}
	part, err := filepath.Rel(a.output, tmp)
	if err != nil {
		return err
	}
	e.now.Part = part
	if err := e.marker.promise(e.now); err != nil {
		return err
	}
	err = a.copyFile(from, tmp)
	if err == nil {
		err = a.place(tmp, to)
	}
	if err != nil {
		return errors.Join(err, a.discard(tmp)) // frees the space, too
	}
	if err := a.fs.SyncDir(filepath.Dir(to)); err != nil {
		return err
	}
	// Without this, a crash would let the next start copy it a second time.
	e.now.Part, e.now.Copied = "", true
	if err := e.marker.promise(e.now); err != nil {
		return err
	}
	return a.forget(from)
}

// endCopy clears up after a copy that was cut off, and finds out whether it was
// whole by then, and in its place: it was made because there was no file of that
// name, so one with the same content is it.
func (a *Archive) endCopy(e *ended, from string) error {
	if err := a.discard(filepath.Join(a.output, e.now.Part)); err != nil {
		return err
	}
	to := filepath.Join(a.output, e.now.Final)
	for _, path := range []string{from, to} {
		if there, err := a.fs.Exists(path); err != nil || !there {
			return err
		}
	}
	was, err := a.sha256Of(from)
	if err != nil {
		return err
	}
	is, err := a.sha256Of(to)
	if err != nil || is != was {
		return err
	}
	e.now.Copied = true
	return a.fs.SyncDir(filepath.Dir(to))
}

func (a *Archive) copyFile(from, to string) error {
	src, err := a.fs.Open(from, Existing)
	if err != nil {
		return err
	}
	dst, err := a.fs.Open(to, Create)
	if err != nil {
		return errors.Join(err, src.Close())
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{dst}, reader(src), make([]byte, flushSize))
	if err == nil {
		err = dst.Sync()
	}
	return errors.Join(err, dst.Close(), src.Close())
}

// place gives a file of ours its name, which must not exist.
func (a *Archive) place(tmp, to string) error {
	err := a.fs.Link(tmp, to)
	if noLinks(err) {
		return a.fs.Rename(tmp, to)
	}
	if err != nil {
		return err
	}
	return a.fs.Remove(tmp)
}

// discard removes what an earlier attempt may have left.
func (a *Archive) discard(path string) error {
	if err := a.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
