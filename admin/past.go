package admin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/millrace-mq/millrace/admin/history"
)

// saveEvery is how much of the past a crash may cost.
const saveEvery = 5 * time.Minute

// past keeps the history in a file. It is a convenience, so nothing that goes wrong
// with it stops anything: it is logged.
type past struct {
	file  string // empty: nowhere
	store *history.Store
	log   *slog.Logger
}

// load reads the file, if there is one. One that is damaged is set aside, not
// overwritten: somebody may want to know what happened to it.
func (p *past) load() {
	if p.file == "" {
		return
	}
	f, err := os.Open(p.file)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		err = p.store.Load(bufio.NewReaderSize(f, 1<<20))
		_ = f.Close() // it was only read
	}
	if err != nil {
		p.log.Warn("the past could not be read; the charts begin now", "history-file", p.file, "error", err)
		_ = os.Rename(p.file, p.file+".bad")
	}
}

// run saves the history every few minutes, and once more when ctx has ended.
func (p *past) run(ctx context.Context) {
	if p.file == "" {
		return
	}
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		if err := p.save(); err != nil {
			p.log.Warn("the past could not be saved", "history-file", p.file, "error", err)
		}
	}
}

// save puts a whole new file in the place of the old one, so that there is always a
// whole one.
func (p *past) save() (err error) {
	f, err := os.CreateTemp(filepath.Dir(p.file), filepath.Base(p.file)+".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	w := bufio.NewWriterSize(f, 1<<20)
	err = errors.Join(p.store.Save(w), w.Flush(), f.Sync(), f.Close())
	if err != nil {
		return fmt.Errorf("writing %s: %w", f.Name(), err)
	}
	return os.Rename(f.Name(), p.file)
}
