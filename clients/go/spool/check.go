package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
)

// This file is what becomes of a generation after a crash, or damage. go-diskqueue
// sets a file aside from where it cannot read it, so a file that may be such
// is made readable before: its end is cut off behind the last sound record, and
// something unsound between two records is made a record of its own, which is passed
// over for its checksum.

// find learns what a generation on disk holds. One that was closed says so; any
// other is read, and so is one that says that it holds nothing.
func (g *generation) find() error {
	info, err := os.Stat(g.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil // remove did not come to its end
	}
	if err != nil {
		return err
	}
	if p, ok := g.positions(); ok && p.end == info.Size() && p.records > 0 && p.from < p.end {
		g.records, g.from, g.end = p.records, p.from, p.end
		return nil // to be checked when it is read
	}
	return g.check()
}

// positions are what go-diskqueue writes down: in decimal, "records\nfile,place\nfile,place\n"
// of the next read and the next write.
type positions struct {
	records   int
	from, end int64
}

func (g *generation) positions() (p positions, ok bool) {
	text, err := os.ReadFile(g.notes())
	if err != nil {
		return positions{}, false
	}
	var reads, writes int
	_, err = fmt.Sscanf(string(text), "%d\n%d,%d\n%d,%d\n", &p.records, &reads, &p.from, &writes, &p.end)
	return p, err == nil && reads == 0 && writes == 0
}

// check makes the files what they should be, and counts what is in them. It changes
// no sound record, so that a crash meanwhile does no harm.
func (g *generation) check() error {
	data, err := os.ReadFile(g.path())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	bounds, damaged, err := g.mend(data)
	if err != nil {
		return err
	}
	p, ok := g.positions()
	first := 0
	if ok {
		first, ok = p.first(bounds, damaged)
	}
	if !ok { // better twice than not at all
		g.log.Warn("the positions of a file of the spool are damaged: all of it comes again", "file", g.path())
	}
	g.records, g.from, g.end = len(bounds)-1-first, bounds[first], bounds[len(bounds)-1]
	if err := g.note(); err != nil {
		return err
	}
	if g.end < p.end {
		g.log.Error("the end of a file of the spool is lost", "file", g.path(), "bytes", p.end-g.end)
	}
	g.sound = true
	return nil
}

// first is the number of the record that is to be read first. The positions have no
// checksum, so they must agree with the records, unless it is these that are damaged.
func (p positions) first(bounds []int64, damaged bool) (first int, ok bool) {
	first, ok = slices.BinarySearch(bounds, p.from)
	last, whole := slices.BinarySearch(bounds, p.end)
	if !ok || !damaged && (!whole || last-first != p.records) {
		return 0, false
	}
	return first, true
}

// mend makes the data readable from its beginning to its end, and returns where each record
// begins and the last one ends.
func (g *generation) mend(data []byte) (bounds []int64, damaged bool, err error) {
	end := int64(0)
	bounds = append(bounds, end)
	for int(end) < len(data) {
		size := recordAt(data[end:])
		if size == 0 {
			if size = unsound(data[end:]); size == 0 {
				break
			}
			damaged = true
			g.log.Warn("something in a file of the spool is damaged", "file", g.path(), "offset", end, "bytes", size)
			if err := g.bridge(end, size); err != nil {
				return nil, false, err
			}
		}
		end += int64(size)
		bounds = append(bounds, end)
	}
	tail := data[end:]
	damaged = damaged || len(tail) > 0 && !torn(tail)
	return bounds, damaged, g.cut(end, tail)
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

// bridge makes size bytes at a place a record: one that is passed over, or, if it was only
// its length that was damaged, the one that it was.
func (g *generation) bridge(at int64, size int) error {
	f, err := os.OpenFile(g.path(), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	// #nosec G115 -- go-diskqueue writes signed lengths, and records far below 2 GiB; what is read is checked
	length := binary.BigEndian.AppendUint32(nil, uint32(size-lengthSize))
	_, err = f.WriteAt(length, at)
	return errors.Join(err, f.Sync(), f.Close())
}

// cut cuts off what is behind the last sound record. The beginning of a record is
// what a crash leaves of a Put that never returned; anything else is set aside.
func (g *generation) cut(end int64, tail []byte) error {
	if len(tail) == 0 {
		return nil
	}
	if !torn(tail) {
		aside := fmt.Sprintf("%s.%d.bad", g.path(), end)
		g.log.Error("the end of a file of the spool is damaged and set aside", "file", aside, "bytes", len(tail))
		// #nosec G703 -- beside the file itself, in the directory that the application has named
		if err := os.WriteFile(aside, tail, 0o600); err != nil {
			return err
		}
	}
	return os.Truncate(g.path(), end)
}

func torn(tail []byte) bool {
	begun := tail[:min(len(tail), lengthSize+len(magic))]
	if len(begun) < lengthSize {
		return true
	}
	// #nosec G115 -- go-diskqueue writes signed lengths, and records far below 2 GiB; what is read is checked
	n := int64(int32(binary.BigEndian.Uint32(begun)))
	return n >= headerSize && n <= MaxRecord+headerSize && n > int64(len(tail)-lengthSize) &&
		bytes.HasPrefix([]byte(magic), begun[lengthSize:])
}

// note writes down the positions, as go-diskqueue does. Where there is no room for
// another file, the one that is there is written over: torn by a crash, it would not
// agree with the records.
func (g *generation) note() error {
	text := fmt.Appendf(nil, "%d\n%d,%d\n%d,%d\n", g.records, 0, g.from, 0, g.end)
	tmp := g.notes() + ".0.tmp"
	err := os.WriteFile(tmp, text, 0o600)
	if err == nil {
		err = os.Rename(tmp, g.notes())
	}
	if err != nil {
		_ = os.Remove(tmp) // may not be there
		if overwrite(g.notes(), text) != nil {
			return err
		}
	}
	g.noted, g.unnoted = true, 0
	return nil
}

func overwrite(path string, text []byte) error {
	// #nosec G304 -- in the directory that the application has named
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Truncate(int64(len(text))), f.Close())
}
