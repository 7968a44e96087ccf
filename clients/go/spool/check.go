package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// This file is what becomes of a generation after a crash, or damage. go-diskqueue
// sets a file aside from where it cannot read it, so a file that may be such
// is made readable before: its end is cut off behind the last sound record, and
// something unsound between two records is made a record of its own, which is passed
// over for its checksum.

// find learns what a generation on disk holds. One that was closed says so; any
// other is read.
func (g *generation) find() error {
	info, err := os.Stat(g.path())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	records, from, end, ok := g.positions()
	if err == nil && ok && end == info.Size() {
		g.records, g.from, g.end = records, from, end
		return nil // to be checked when it is read
	}
	return g.check()
}

// positions is what go-diskqueue wrote down: in decimal, "records\nfile,place\nfile,place\n"
// of the next read and the next write.
func (g *generation) positions() (records int, from, end int64, ok bool) {
	text, err := os.ReadFile(g.notes())
	if err != nil {
		return 0, 0, 0, false
	}
	var reads, writes int
	_, err = fmt.Sscanf(string(text), "%d\n%d,%d\n%d,%d\n", &records, &reads, &from, &writes, &end)
	ok = err == nil && reads == 0 && writes == 0 && records >= 0 && 0 <= from && from <= end
	return records, from, end, ok
}

// check makes the files what they should be, and counts what is in them. It changes
// no sound record, so that a crash meanwhile does no harm.
func (g *generation) check() error {
	data, err := os.ReadFile(g.path())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	wanted, from, _, ok := g.positions()
	if !ok || from > int64(len(data)) {
		from = 0 // better twice than not at all
	}
	g.records, g.from, g.end = 0, from, from
	for rest := data[g.from:]; len(rest) > 0; rest = data[g.end:] {
		size := recordAt(rest)
		if size == 0 {
			if size = unsound(rest); size == 0 {
				break
			}
			g.log.Warn("something in a file of the spool is damaged", "file", g.path(), "at", g.end, "bytes", size)
			if err := g.bridge(size); err != nil {
				return err
			}
		}
		g.records++
		g.end += int64(size)
	}
	if err := g.cut(data[g.end:]); err != nil {
		return err
	}
	if err := g.note(); err != nil {
		return err
	}
	if g.records < wanted {
		g.log.Error("records of the spool are lost", "file", g.path(), "records", wanted-g.records)
	}
	g.sound, g.unnoted = true, 0
	return nil
}

// unsound is how many bytes of b, which do not begin with a sound record, are
// before one that is, or are sound but for their length. 0 is neither.
func unsound(b []byte) int {
	for at := 2 * lengthSize; at < len(b); at++ {
		i := bytes.Index(b[at:], []byte(magic))
		if i < 0 {
			break
		}
		at += i
		if begin := at - lengthSize; begin >= overhead && recordAt(b[begin:]) > 0 {
			return begin
		}
	}
	if len(b) >= overhead {
		if _, err := parseRecord(b[lengthSize:]); err == nil {
			return len(b)
		}
	}
	return 0
}

// bridge makes size bytes a record: one that is passed over, or, if it was only
// its length that was damaged, the one that it was.
func (g *generation) bridge(size int) error {
	f, err := os.OpenFile(g.path(), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	length := binary.BigEndian.AppendUint32(nil, uint32(size-lengthSize))
	_, err = f.WriteAt(length, g.end)
	return errors.Join(err, f.Sync(), f.Close())
}

// cut cuts off what is behind the last sound record. The beginning of a record is
// what a crash leaves of a Put that never returned; anything else is set aside.
func (g *generation) cut(tail []byte) error {
	if len(tail) == 0 {
		return nil
	}
	if !torn(tail) {
		aside := fmt.Sprintf("%s.%d.bad", g.path(), g.end)
		g.log.Error("the end of a file of the spool is damaged and set aside", "file", aside, "bytes", len(tail))
		if err := os.WriteFile(aside, tail, 0o600); err != nil {
			return err
		}
	}
	return os.Truncate(g.path(), g.end)
}

func torn(tail []byte) bool {
	begun := tail[:min(len(tail), lengthSize+len(magic))]
	if len(begun) < lengthSize {
		return true
	}
	n := int64(int32(binary.BigEndian.Uint32(begun)))
	return n >= headerSize && n <= MaxRecord+headerSize && n > int64(len(tail)-lengthSize) &&
		bytes.HasPrefix([]byte(magic), begun[lengthSize:])
}

// note writes down the positions, as go-diskqueue does.
func (g *generation) note() error {
	text := fmt.Sprintf("%d\n%d,%d\n%d,%d\n", g.records, 0, g.from, 0, g.end)
	tmp := g.notes() + ".0.tmp"
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, g.notes())
}
