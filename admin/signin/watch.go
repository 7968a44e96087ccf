package signin

import (
	"bytes"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/millrace-mq/millrace/internal/textfile"
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
	file    *textfile.File // the one at path
	text    []byte         // what was read
	said    string         // what is wrong with it, as the log says; empty if nothing is
}

func watch(path, base string, proxied bool, log *slog.Logger) (*watched, error) {
	w := &watched{path: path, base: base, proxied: proxied, log: log, file: textfile.New("users-file", path)}
	w.file.Changed()
	text, err := w.file.Read()
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

func (w *watched) look() {
	if !w.file.Changed() {
		return
	}
	text, err := w.file.Read()
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

func (w *watched) parse(text []byte) (*people, error) {
	p, err := parsePeople(w.path, string(text), w.base)
	if err == nil && p.empty() && !w.proxied {
		err = fmt.Errorf("users-file %s: lets nobody in: it needs [[users]] or [oidc], or --trusted-proxy beside it", w.path)
	}
	return p, err
}
