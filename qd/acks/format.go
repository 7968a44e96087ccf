package acks

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// A file is record after record. Integers in the header are little-endian:
//
//	0       4   5   6       8        12       16       20
//	+-------+---+---+-------+--------+--------+--------+------ - -
//	| MACK  | 1 | f |   0   | length | before | CRC    | body
//	+-------+---+---+-------+--------+--------+--------+------ - -
//	          |   |             |        |        |
//	          |   |             |        |        of the header before it, and the body
//	          |   |             |        CRC of the record before; 0 in the first
//	          |   |             of the body, in bytes
//	          |   flags: 1 first of its delta, 2 last of its delta, 4 snapshot
//	          version
//
// A delta is one record, or several if it is large, and counts when its last
// one is there. The first delta of a file is a snapshot, no other is. "before"
// ties records together: what an earlier write left behind the end of a later
// one is never taken for what follows it.
//
// A body is made of varints (u: unsigned, s: zigzag), each as short as can be:
//
//	u cursor, u deferred         only in the first record of a delta
//	u number of ranges           for each: u From less the To before, u To less From
//	changes up to the end        for each: tag, s ID less the ID before, and unless gone
//	                             s Place less the one before, s Due less the one before,
//	                             u attempts, reason
//
// "Before" is in the same record, or 0. A tag is a byte: 0 gone, 1 waiting,
// 2 dead. Differences are modulo 2^64, except those of ranges.
const (
	magic      = "MACK"
	version    = 1
	headerSize = 20
	maxBody    = 1 << 20
	maxRange   = 2 * binary.MaxVarintLen64
	maxChange  = 2 + 3*binary.MaxVarintLen64 + binary.MaxVarintLen16
	maxRanges  = maxBody / 2 / maxRange // in one record

	flagFirst    = 1
	flagLast     = 2
	flagSnapshot = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrVersion is the error for a file of a version that this program does not
// know. It is left as it is.
var ErrVersion = errors.New("unknown format version")

// errBad is the error for bytes that are no record.
var errBad = errors.New("no whole record")

// part is a record, decoded.
type part struct {
	flags            byte
	before           uint32
	crc              uint32
	cursor, deferred uint64 // of the first of a delta
	open             []Range
	changes          []Change
}

// encoder cuts a delta into records.
type encoder struct {
	delta         *Delta
	before        uint32 // CRC of the last record
	open, changes int    // how many of the delta's are written
	done          bool
}

// append appends the next record. After the last one, done is set.
func (e *encoder) append(dst []byte) []byte {
	start, d := len(dst), e.delta
	flags := byte(0)
	dst = append(dst, make([]byte, headerSize)...)
	if e.open == 0 && e.changes == 0 {
		flags |= flagFirst
		dst = binary.AppendUvarint(dst, d.Cursor)
		dst = binary.AppendUvarint(dst, d.Deferred)
	}
	ranges := d.Open[e.open:min(len(d.Open), e.open+maxRanges)]
	dst = appendRanges(dst, ranges)
	e.open += len(ranges)
	var last Entry
	for e.open == len(d.Open) && e.changes < len(d.Changes) && len(dst)-start+maxChange <= maxBody {
		dst = appendChange(dst, &last, &d.Changes[e.changes])
		e.changes++
	}
	if e.done = e.open == len(d.Open) && e.changes == len(d.Changes); e.done {
		flags |= flagLast
	}
	if d.Reset {
		flags |= flagSnapshot
	}
	e.before = seal(dst[start:], flags, e.before)
	return dst
}

// seal fills a record's header in and returns its CRC.
func seal(record []byte, flags byte, before uint32) uint32 {
	copy(record, magic)
	record[4], record[5] = version, flags
	// #nosec G115 -- a body is at most 1 MiB
	binary.LittleEndian.PutUint32(record[8:], uint32(len(record)-headerSize))
	binary.LittleEndian.PutUint32(record[12:], before)
	crc := checksum(record)
	binary.LittleEndian.PutUint32(record[16:], crc)
	return crc
}

func checksum(record []byte) uint32 {
	return crc32.Update(crc32.Checksum(record[:16], castagnoli), castagnoli, record[headerSize:])
}

func appendRanges(dst []byte, ranges []Range) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(ranges)))
	to := uint64(0)
	for _, r := range ranges {
		dst = binary.AppendUvarint(dst, r.From-to)
		dst = binary.AppendUvarint(dst, r.To-r.From)
		to = r.To
	}
	return dst
}

// appendChange appends c after the entry last, which becomes c's.
func appendChange(dst []byte, last *Entry, c *Change) []byte {
	tag := byte(0)
	if !c.Gone {
		tag = 1 + byte(c.State)
	}
	dst = append(dst, tag)
	// #nosec G115 -- a difference modulo 2^64, as the format says
	dst = binary.AppendVarint(dst, int64(c.ID-last.ID))
	last.ID = c.ID
	if c.Gone {
		return dst
	}
	// #nosec G115 -- a difference modulo 2^64, as the format says
	dst = binary.AppendVarint(dst, int64(c.Place-last.Place))
	dst = binary.AppendVarint(dst, c.Due-last.Due)
	last.Place, last.Due = c.Place, c.Due
	dst = binary.AppendUvarint(dst, uint64(c.Attempts))
	return append(dst, c.Reason)
}

// recordSize is the length of the record whose header b begins with.
func recordSize(b []byte) (int, error) {
	if len(b) < headerSize || string(b[:4]) != magic || b[4] == 0 {
		return 0, errBad
	}
	length := binary.LittleEndian.Uint32(b[8:])
	switch {
	case length <= maxBody:
		return headerSize + int(length), nil
	case b[4] != version:
		return 0, fmt.Errorf("%w %d, this program knows %d", ErrVersion, b[4], version)
	}
	return 0, errBad
}

// parse decodes the record that b is into p, whose slices are used again.
func (p *part) parse(b []byte) error {
	size, err := recordSize(b)
	if err != nil {
		return err
	}
	whole := len(b) == size
	p.crc = binary.LittleEndian.Uint32(b[16:])
	if b[4] != version {
		return otherVersion(b, whole)
	}
	if !whole || checksum(b) != p.crc {
		return errBad
	}
	p.flags, p.before = b[5], binary.LittleEndian.Uint32(b[12:])
	p.cursor, p.deferred, p.open, p.changes = 0, 0, p.open[:0], p.changes[:0]
	if p.flags > flagFirst|flagLast|flagSnapshot || b[6] != 0 || b[7] != 0 {
		return errBad
	}
	return p.parseBody(&decoder{b: b[headerSize:]})
}

// otherVersion tells a record of another version from one of this version
// with a damaged version byte.
func otherVersion(b []byte, whole bool) error {
	if whole {
		ours := bytes.Clone(b)
		ours[4] = version
		if checksum(ours) == binary.LittleEndian.Uint32(b[16:]) {
			return errBad
		}
	}
	return fmt.Errorf("%w %d, this program knows %d", ErrVersion, b[4], version)
}

func (p *part) parseBody(d *decoder) error {
	if p.flags&flagFirst != 0 {
		p.cursor, p.deferred = d.uvarint(), d.uvarint()
	}
	to := uint64(0)
	for n := d.uvarint(); n > 0 && !d.bad; n-- {
		r := Range{From: to + d.uvarint()}
		r.To = r.From + d.uvarint()
		d.bad = d.bad || r.From < to || r.To <= r.From
		p.open = append(p.open, r)
		to = r.To
	}
	var last Entry
	for len(d.b) > 0 && !d.bad {
		p.changes = append(p.changes, d.change(&last))
	}
	if d.bad {
		return errBad
	}
	return nil
}

// decoder takes a body apart. Once bad it returns anything.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) change(last *Entry) Change {
	tag := d.byte()
	// #nosec G115 -- a difference modulo 2^64, as the format says
	last.ID += uint64(d.varint())
	if tag == 0 {
		return Change{Entry: Entry{ID: last.ID}, Gone: true}
	}
	// #nosec G115 -- a difference modulo 2^64, as the format says
	last.Place += uint64(d.varint())
	last.Due += d.varint()
	attempts := d.uvarint()
	d.bad = d.bad || attempts > 1<<16-1 || tag > 1+byte(Dead)
	// #nosec G115 -- attempts of more than 16 bits have made it bad above
	last.Attempts, last.State, last.Reason = uint16(attempts), EntryState(tag-1), d.byte()
	return Change{Entry: *last}
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.bad = true
		return 0
	}
	b := d.b[0]
	d.b = d.b[1:]
	return b
}

// uvarint refuses what could be shorter, so that a value has one encoding.
func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || n > 1 && d.b[n-1] == 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	u := d.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}
