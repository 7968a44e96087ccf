package history

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// Save writes all that is kept, for a Store to Load it. Adds go on meanwhile; what is
// still to be written stays in memory until it is, so w should be a file, not a
// network. Who wants either the old file or the new one after a crash writes to
// another name and renames.
func (s *Store) Save(w io.Writer) error {
	s.adding.Lock()
	s.closePage()
	list := slices.Clone(s.keys.list)
	pages := slices.Clone(s.pages)
	marks := slices.Clone(s.marks)
	last := s.last
	s.adding.Unlock()

	b := newBlockWriter(w)
	saveKeys(b, list)
	for i, p := range pages {
		savePage(b, p, list)
		pages[i] = nil
	}
	for _, m := range marks {
		b.room('M', 2*markText+20)
		b.time(ms(m.At))
		b.text(m.Node)
		b.text(m.What)
	}
	b.flush('M')
	b.time(last)
	b.flush('E')
	if b.err != nil {
		return fmt.Errorf("saving history: %w", b.err)
	}
	return nil
}

func saveKeys(b *blockWriter, list []known) {
	for i := range list {
		if e := &list[i]; e.used {
			b.room('K', keyText+6*10)
			b.text(e.key.Node)
			b.text(e.key.Topic)
			b.text(e.key.Channel)
			b.time(e.born)
			b.time(e.seen)
			b.time(e.busy)
		}
	}
	b.flush('K')
}

func savePage(b *blockWriter, p *page, list []known) {
	b.time(p.step)
	b.number(len(p.rows))
	for _, r := range p.rows {
		b.time(r.from)
		b.time(r.to)
		b.time(r.held)
	}
	b.flush('P')
	for i := range list {
		if !list[i].used {
			continue
		}
		b.room('R', recordMost+2)
		record := p.record(uint32(i))
		if record != nil {
			record = record[:recordBytes(record, len(p.rows))]
		}
		b.number(len(record))
		b.buf = append(b.buf, record...)
	}
	b.flush('R')
}

// Load takes what Save wrote. It is called before the first Add. A file that is
// damaged, cut off or written by another version is refused whole, with one line; the
// Store is then as empty as before. No file, whatever it says, takes more memory than
// MaxBytes: one from a Store with more memory is kept coarser. The time from the end of
// the file to the first Add is a gap.
func (s *Store) Load(r io.Reader) error {
	s.adding.Lock()
	defer s.adding.Unlock()
	if s.known() {
		return errors.New("loading history: it must be loaded before anything is added")
	}
	b := &blockReader{r: r}
	loaded := New(s.set)
	if err := loaded.load(b); err != nil {
		return fmt.Errorf("loading history: %w, at byte %d: nothing of it is used, and history begins anew", err, b.at)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys, s.pages, s.last = loaded.keys, loaded.pages, loaded.last
	for _, m := range s.marks {
		loaded.mark(m) // of this process, which may have begun before Load
	}
	s.marks = loaded.marks
	return nil
}

func (s *Store) load(b *blockReader) error {
	head := make([]byte, len(fileHead))
	if err := b.full(head); err != nil {
		return err
	}
	if string(head) != fileHead {
		return errors.New("it is no history that this version can read")
	}
	if err := b.next(); err != nil {
		return err
	}
	for _, part := range []func(*blockReader) error{s.loadKeys, s.loadPages, s.loadMarks} {
		if err := part(b); err != nil {
			return err
		}
	}
	return s.loadEnd(b)
}

func (s *Store) loadKeys(b *blockReader) error {
	for b.kind == 'K' {
		for b.more() {
			key := Key{string(b.bytes(keyText)), string(b.bytes(keyText)), string(b.bytes(keyText))}
			born, seen, busy := b.time(), b.time(), b.time()
			if b.bad {
				break
			}
			if !s.keys.room(key, s.most()) {
				return fmt.Errorf("there is more in it than %d MiB of memory can take", s.most()>>20)
			}
			_, twice := s.keys.numbers[key]
			n, ok := s.keys.add(key, seen)
			if twice || !ok {
				return errors.New("a key in it cannot be")
			}
			e := &s.keys.list[n]
			e.born, e.seen, e.busy = born, seen, busy
		}
		if err := b.done(); err != nil {
			return err
		}
		if err := b.next(); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) loadPages(b *blockReader) error {
	for b.kind == 'P' {
		w, err := s.loadRows(b)
		if err != nil {
			return err
		}
		for len(w.index) < s.keys.count() {
			if err := b.next(); err != nil {
				return err
			}
			if b.kind != 'R' {
				return errors.New("records are missing")
			}
			if err := loadRecords(b, w, s.keys.count()); err != nil {
				return err
			}
		}
		p := w.finish()
		s.pages = append(s.pages, p)
		s.last = p.to()
		s.shrink()
		if err := b.next(); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) loadRows(b *blockReader) (*pageWriter, error) {
	step := b.time()
	rows := make([]span, b.number(pageRows))
	last := int64(-timeMost)
	if n := len(s.pages); n > 0 {
		last = s.pages[n-1].to()
	}
	for i := range rows {
		r := span{b.time(), b.time(), b.time()}
		if r.from < last || r.to <= r.from || r.held < 0 || r.held > r.to-r.from {
			b.bad = true
		}
		rows[i], last = r, r.to
	}
	if step < 0 || len(rows) == 0 {
		b.bad = true
	}
	return newPageWriter(rows, step, s.keys.count()), b.done()
}

func loadRecords(b *blockReader, w *pageWriter, keys int) error {
	for b.more() && len(w.index) < keys {
		switch record := b.bytes(recordMost); {
		case b.bad:
		case len(record) == 0:
			w.addNone()
		case checkRecord(record, len(w.rows)):
			w.addRecord(record)
		default:
			b.bad = true
		}
	}
	return b.done()
}

func (s *Store) loadMarks(b *blockReader) error {
	for b.kind == 'M' {
		for b.more() {
			at, node, what := b.time(), b.bytes(markText), b.bytes(markText)
			if !b.bad {
				s.mark(Mark{At: time.UnixMilli(at).UTC(), Node: string(node), What: string(what)})
			}
		}
		if err := b.done(); err != nil {
			return err
		}
		if err := b.next(); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) loadEnd(b *blockReader) error {
	last := b.time()
	if b.kind != 'E' || last < s.last {
		return errors.New("its parts are not those of a history")
	}
	if err := b.done(); err != nil {
		return err
	}
	s.last = last
	for i := range s.keys.list {
		e := &s.keys.list[i]
		e.born, e.seen, e.busy = min(e.born, last), min(e.seen, last), min(e.busy, last)
	}
	return nil
}
