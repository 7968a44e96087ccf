package signin

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxFile = 4 << 20 // bytes of a users' file

	// settled is how old a file's time of change must be for another change to have another
	// one: file systems count it in milliseconds, some in seconds.
	settled = 2 * time.Second
)

// watched is a users' file, read again when it changes. What cannot be read is
// complained of once, and what was read before stays in use.
type watched struct {
	path    string
	base    string
	proxied bool // there are trusted proxies too
	log     *slog.Logger
	current atomic.Pointer[people]

	// Held while the file is looked at. Nobody waits for it: whoever finds it held uses
	// what there is.
	looking sync.Mutex
	seen    os.FileInfo // when it was last read, whether that went well or not; nil: it was not there
	fresh   bool        // it had just changed then, and may change again without another time of change
	text    []byte      // what was read
	said    string      // what is wrong with it, as the log says; empty if nothing is
}

func watch(path, base string, proxied bool, log *slog.Logger) (*watched, error) {
	w := &watched{path: path, base: base, proxied: proxied, log: log}
	w.note()
	text, err := w.read()
	if err != nil {
		return nil, err
	}
	p, err := w.parse(text)
	if err != nil {
		return nil, err
	}
	w.text = text
	w.current.Store(p)
	return w, nil
}

// people looks at the file each time: that is a microsecond, and somebody who has been
// removed from it is out with his next request.
func (w *watched) people() *people {
	if w.looking.TryLock() {
		defer w.looking.Unlock()
		w.look()
	}
	return w.current.Load()
}

// note looks whether the file may be another than when it was last read. It is noted
// before it is read: if it changes meanwhile, it is read again.
func (w *watched) note() (changed bool) {
	info, err := os.Stat(w.path)
	if err != nil {
		info = nil
	}
	changed = !same(info, w.seen) || w.fresh
	w.seen, w.fresh = info, info != nil && time.Since(info.ModTime()) < settled
	return changed
}

func (w *watched) look() {
	if !w.note() {
		return
	}
	text, err := w.read()
	if err == nil && bytes.Equal(text, w.text) {
		return
	}
	w.text = text // nil if it cannot be read
	var p *people
	if err == nil {
		p, err = w.parse(text)
	}
	if err != nil {
		if w.said != err.Error() {
			w.log.Error("cannot use the changed users' file; what it said before stays in use", "error", err)
		}
		w.said = err.Error()
		return
	}
	w.said = ""
	w.current.Store(p)
	w.log.Info("users' file read anew", "file", w.path, "users", len(p.users))
}

func same(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

func (w *watched) read() ([]byte, error) {
	if w.seen != nil && !w.seen.Mode().IsRegular() { // a pipe would have us wait
		return nil, fmt.Errorf("users-file %s: is no file", w.path)
	}
	f, err := os.Open(w.path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("users-file %s: there is no such file", w.path)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("users-file %s: this process may not read it: change its owner or mode", w.path)
	case err != nil:
		return nil, fmt.Errorf("users-file %s: cannot be read: %w", w.path, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("users-file %s: cannot be read: %w", w.path, err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("users-file %s: must not have more than %d bytes", w.path, maxFile)
	}
	return text, nil
}

func (w *watched) parse(text []byte) (*people, error) {
	p, err := parsePeople(w.path, string(text), w.base)
	if err == nil && p.empty() && !w.proxied {
		err = fmt.Errorf("users-file %s: lets nobody in: it needs [[users]] or [oidc], or --trusted-proxy beside it", w.path)
	}
	return p, err
}
