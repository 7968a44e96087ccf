package admin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
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

// load reads the file. One that is damaged is set aside, not overwritten: somebody may
// want to know what happened to it. If there is none one is made, so that who has named
// what cannot be written hears of it now and not in saveEvery.
func (p *past) load() {
	if p.file == "" {
		return
	}
	f, err := os.Open(p.file)
	if errors.Is(err, fs.ErrNotExist) {
		p.save()
		return
	}
	if err == nil {
		err = p.store.Load(bufio.NewReaderSize(f, 1<<20))
		_ = f.Close() // it was only read
	}
	if err != nil {
		p.log.Warn("the past could not be read; the charts begin now", "file", p.file, "error", err)
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
		p.save()
	}
}

func (p *past) save() {
	if err := p.write(); err != nil {
		p.log.Warn("the past could not be saved", "file", p.file, "error", err)
	}
}

// write puts a whole new file in the place of the old one, so that there is always a
// whole one. What a crash left of an earlier one is written over: it may be as large as
// the memory that the past may take.
func (p *past) write() (err error) {
	name := p.file + ".new"
	// #nosec G304 -- the operator's file
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(name)
		}
	}()
	w := bufio.NewWriterSize(f, 1<<20)
	err = errors.Join(p.store.Save(w), w.Flush(), f.Sync(), f.Close())
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return os.Rename(name, p.file)
}
