package journal_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/disk/disktest"
	"github.com/millrace-mq/millrace/qd/journal"
)

const dir = "/data/topic"

// world is a log, and what is known of it.
type world struct {
	t        *testing.T
	disk     *disktest.Disk
	options  journal.Options
	log      *journal.Log
	findings []journal.Finding

	nextID    uint64
	attempted map[uint64]map[string]bool // frames that a commit was tried with, by position
	acked     map[uint64]string          // frames whose commit returned nil and that were not removed
	durable   map[uint64]string          // those that were synced
	dead      bool                       // what was recovered after a kill may not be on the device though synced
	reopened  bool                       // since it was last looked at
	removed   uint64                     // positions below may be gone
}

func newWorld(t *testing.T, o journal.Options) *world {
	w := &world{
		t: t, disk: disktest.New(), options: o, nextID: 1 << 33,
		attempted: map[uint64]map[string]bool{}, acked: map[uint64]string{}, durable: map[uint64]string{},
	}
	w.must(w.disk.MkdirAll("/data"))
	w.must(w.disk.SyncDir("/"))
	w.open()
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) open() {
	w.t.Helper()
	w.must(w.tryOpen())
}

func (w *world) tryOpen() (err error) {
	w.findings = nil
	o := w.options
	o.Report = func(f journal.Finding) { w.findings = append(w.findings, f) }
	w.log, err = journal.Open(w.disk, dir, o)
	return err
}

// reopen closes the log and opens it again.
func (w *world) reopen() error {
	w.must(w.log.Close())
	w.reopened = true
	return w.tryOpen()
}

// on is the same world on another disk, reopened.
func (w *world) on(d *disktest.Disk) *world {
	w.t.Helper()
	c := *w
	c.disk = d
	c.attempted = maps.Clone(w.attempted)
	c.acked, c.durable = maps.Clone(w.acked), maps.Clone(w.durable)
	c.open()
	return &c
}

// record makes a record of n messages with bodies of size bytes or a little more.
func (w *world) record(pos uint64, n, size int) journal.Record {
	r := journal.Record{
		Kind: journal.Messages, Position: pos, FirstID: w.nextID, Count: n, Published: int64(w.nextID),
	}
	var b []byte
	for i := range n {
		body := fmt.Appendf(nil, "message %d at %d", w.nextID, pos+uint64(i))
		body = append(body, make([]byte, max(0, size+i-len(body)))...)
		frame := protocol.AppendMessage(nil, int64(w.nextID), 1, w.nextID, body)
		if w.attempted[pos+uint64(i)] == nil {
			w.attempted[pos+uint64(i)] = map[string]bool{}
		} else {
			w.attempted[pos+uint64(i)] = maps.Clone(w.attempted[pos+uint64(i)])
		}
		w.attempted[pos+uint64(i)][string(frame)] = true
		b = append(b, frame...)
		w.nextID++
	}
	half := len(b) / 2
	r.Frames = [][]byte{b[:half], b[half:]}
	return r
}

// commit commits records of so many messages each behind the end.
func (w *world) commit(sync bool, size int, counts ...int) error {
	var records []journal.Record
	pos := w.log.End()
	for _, n := range counts {
		records = append(records, w.record(pos, n, size))
		pos += uint64(n)
	}
	return w.commitRecords(sync, records...)
}

func (w *world) commitRecords(sync bool, records ...journal.Record) error {
	if err := w.log.Commit(records, sync); err != nil {
		return err
	}
	for _, r := range records {
		frames := slices.Concat(r.Frames...)
		for i, f := range split(w.t, frames) {
			w.acked[r.Position+uint64(i)] = f
			if sync {
				w.durable[r.Position+uint64(i)] = f
			}
		}
	}
	return nil
}

func (w *world) sync() error {
	err := w.log.Sync()
	if err == nil {
		w.durable = maps.Clone(w.acked)
	}
	return err
}

func (w *world) removeBefore(pos uint64) error {
	w.removed = max(w.removed, pos)
	return w.log.RemoveBefore(pos)
}

func split(t *testing.T, b []byte) []string {
	t.Helper()
	var frames []string
	for len(b) > 0 {
		n := 4 + int(binary.BigEndian.Uint32(b))
		if n < protocol.MessageOverhead || n > len(b) {
			t.Fatalf("no frame: %x", b[:min(len(b), 40)])
		}
		frames, b = append(frames, string(b[:n])), b[n:]
	}
	return frames
}

// readAll reads the whole log in pieces of at most limit bytes.
func (w *world) readAll(limit int) map[uint64]string {
	w.t.Helper()
	got, err := readFrom(w.t, w.log, w.log.Start(), limit)
	w.must(err)
	return got
}

func readFrom(t *testing.T, l *journal.Log, pos uint64, limit int) (map[uint64]string, error) {
	t.Helper()
	got := map[uint64]string{}
	var buf []byte
	for {
		c, err := l.Read(pos, limit, buf)
		if errors.Is(err, io.EOF) {
			return got, nil
		}
		if err != nil {
			return got, err
		}
		frames := split(t, c.Frames)
		if c.Position < pos || len(frames) != c.Count || c.Count == 0 || len(c.Frames) > limit && c.Count > 1 {
			t.Fatalf("asked for %d, %d bytes: position %d, count %d, %d frames, %d bytes", pos, limit, c.Position, c.Count, len(frames), len(c.Frames))
		}
		for i, f := range frames {
			var id protocol.MessageID
			copy(id[:], f[protocol.IDOffset:])
			if want := protocol.FormatID(c.FirstID + uint64(i)); id != want {
				t.Fatalf("position %d: ID %s, want %s", c.Position+uint64(i), id, want)
			}
			got[c.Position+uint64(i)] = f
		}
		pos = c.Position + uint64(c.Count)
		buf = c.Frames
	}
}

// holds checks that the log has all of must, but for what was removed, and
// nothing that was not published at its place.
func (w *world) holds(must map[uint64]string, what string) {
	w.t.Helper()
	got := w.readAll(700)
	for pos, frame := range must {
		if pos >= w.removed && got[pos] != frame {
			w.t.Fatalf("%s: position %d (log is %d to %d): %.70q, want %.70q; findings %v", what, pos, w.log.Start(), w.log.End(), got[pos], frame, w.findings)
		}
	}
	for pos, frame := range got {
		if !w.attempted[pos][frame] {
			w.t.Fatalf("%s: position %d was never %.70q", what, pos, frame)
		}
	}
}

// isExactly checks that the log has what was acknowledged and no more, except
// that reopening may have brought back what a failed commit had written.
func (w *world) isExactly(what string) {
	w.t.Helper()
	w.holds(w.acked, what)
	if w.reopened {
		w.acked, w.reopened = w.readAll(1<<20), false
	}
	for pos, frame := range w.readAll(300) {
		if w.acked[pos] != frame {
			w.t.Fatalf("%s: position %d is %.70q and was not acknowledged", what, pos, frame)
		}
	}
}

func seeded(n int) *rand.Rand { return rand.New(rand.NewPCG(uint64(n), 7)) }
