package acks

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/qd/disk/disktest"
)

// golden is a file of version 1: a snapshot and a delta. These bytes never
// change.
const golden = "4d41434b 01 07 0000 36000000 00000000 9cdfc03e" +
	"e807 64 02 0a 05 0a 01" + // cursor, deferred, two ranges
	"01 808080808080808001 8080808080808004 808098bf84e1add731 03 07" + // waiting
	"02 02 cf0f ffff97bf84e1add731 ffff03 ff" + // dead
	"4d41434b 01 03 0000 1b000000 9cdfc03e 16e2d032" +
	"e907 65 00" +
	"00 808080808080808001" + // gone
	"01 f9ffffffffffff7f 00 00 00 00" // waiting

func TestGolden(t *testing.T) {
	d := disktest.New()
	f, _, _, err := Open(d, "f")
	if err != nil {
		t.Fatal(err)
	}
	snapshot := Delta{Reset: true, Cursor: 1000, Deferred: 100, Open: []Range{{10, 15}, {25, 26}}, Changes: []Change{
		{Entry: Entry{ID: 1 << 55, Place: 1 << 50, Due: 1_790_000_000_000_000_000, Attempts: 3, Reason: 7}},
		{Entry: Entry{ID: 1<<55 + 1, Place: 1<<50 - 1000, Due: 0, Attempts: 65535, State: Dead, Reason: 255}},
	}}
	delta := Delta{Cursor: 1001, Deferred: 101, Changes: []Change{{Entry: Entry{ID: 1 << 55}, Gone: true}, {Entry: Entry{ID: 3}}}}
	if err := errors.Join(f.Replace(snapshot), f.Append(delta, true)); err != nil {
		t.Fatal(err)
	}
	want, err := hex.DecodeString(strings.ReplaceAll(golden, " ", ""))
	if got := d.Bytes("f"); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("the file is\n%x, want\n%x (%v)", got, want, err)
	}
}

// rebuild encodes a decoded record.
func rebuild(p *part) []byte {
	b := make([]byte, headerSize)
	if p.flags&flagFirst != 0 {
		b = binary.AppendUvarint(b, p.cursor)
		b = binary.AppendUvarint(b, p.deferred)
	}
	b = appendRanges(b, p.open)
	var last Entry
	for i := range p.changes {
		b = appendChange(b, &last, &p.changes[i])
	}
	seal(b, p.flags, p.before)
	return b
}

// FuzzRecord parses any bytes as they are, and any body behind a header that
// fits: the only outcomes are an error and a record that is encoded to the
// very same bytes.
func FuzzRecord(f *testing.F) {
	d := Delta{Reset: true, Cursor: 1 << 40, Open: []Range{{1, 5}, {5, 9}}, Changes: []Change{{Entry: Entry{ID: 1 << 63, Due: -5}}, {Gone: true}}}
	e := encoder{delta: &d}
	record := e.append(nil)
	f.Add(byte(7), record)
	f.Add(byte(7), record[headerSize:])
	f.Add(byte(0), []byte{0, 1, 2, 3, 4, 5, 6})
	f.Add(byte(0), []byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 1})
	f.Fuzz(func(t *testing.T, flags byte, b []byte) {
		sealed := append(make([]byte, headerSize), b...)
		seal(sealed, flags, uint32(len(b)))
		for _, record := range [][]byte{b, sealed} {
			var p part
			err := p.parse(record)
			if err != nil {
				continue
			}
			if got := rebuild(&p); !bytes.Equal(got, record) {
				t.Fatalf("%x is encoded again as %x", record, got)
			}
		}
	})
}

// A file of a version that is not known is left alone, whatever is behind its
// version byte. A version byte that is damaged is damage (see TestEveryFlip).
func TestUnknownVersion(t *testing.T) {
	ours := Delta{Reset: true, Cursor: 7}
	e := encoder{delta: &ours}
	first := e.append(nil)
	next := func(change func(b []byte)) []byte {
		b := slices.Clone(first)
		b[4] = 2
		change(b)
		return b
	}
	checked := next(func(b []byte) { binary.LittleEndian.PutUint32(b[16:], checksum(b)) })
	tests := []struct {
		name  string
		bytes []byte
	}{
		{"of the same layout", checked},
		{"behind ours", slices.Concat(first, checked)},
		{"of another layout", next(func(b []byte) { copy(b[5:], "something else") })},
		{"with a length beyond ours", next(func(b []byte) { b[11] = 0xff })},
		{"with a length beyond the file", next(func(b []byte) { b[9] = 1 })},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := disktest.New()
			d.SetBytes("f", tt.bytes)
			_, _, _, err := Open(d, "f")
			if !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), "f: unknown format version 2, this program knows 1") {
				t.Errorf("error %v, want ErrVersion with the path", err)
			}
			if !bytes.Equal(d.Bytes("f"), tt.bytes) || d.Operations() > 0 {
				t.Error("the disk was touched")
			}
		})
	}
}

// A file begins with a snapshot and has no other.
func TestSnapshotComesFirst(t *testing.T) {
	record := func(before uint32, d Delta) ([]byte, uint32) {
		e := encoder{delta: &d, before: before}
		return e.append(nil), e.before
	}
	snapshot, crc := record(0, Delta{Reset: true, Cursor: 1})
	another, _ := record(crc, Delta{Reset: true, Cursor: 2})
	delta, _ := record(0, Delta{Cursor: 3})
	tests := []struct {
		name   string
		bytes  []byte
		cursor uint64
		want   Finding
	}{
		{"a delta first", delta, 0, Finding{Damaged: 1}},
		{"a second snapshot", slices.Concat(snapshot, another), 1, Finding{Torn: int64(len(another)), From: int64(len(snapshot))}},
	}
	for _, tt := range tests {
		d := disktest.New()
		d.SetBytes("f", tt.bytes)
		if s, got, err := Load(d, "f"); err != nil || s.Cursor != tt.cursor || got != tt.want {
			t.Errorf("%s: cursor %d, found %+v, %v; want cursor %d, %+v", tt.name, s.Cursor, got, err, tt.cursor, tt.want)
		}
	}
}

// What does not keep to the format is no record, even with the right checksum.
func TestInvalidRecords(t *testing.T) {
	tests := []struct {
		name  string
		flags byte
		body  string
	}{
		{"nothing", 0, ""},
		{"no deferred", flagFirst, "05"},
		{"an unknown flag", 8, "00"},
		{"a varint too long", 0, "8000"},
		{"a varint of 65 bits", 0, "ffffffffffffffffff02"},
		{"a range missing", 0, "0100"},
		{"an empty range", 0, "010500"},
		{"a range beyond 2^64", 0, "01ffffffffffffffffff0101"},
		{"a second range beyond 2^64", 0, "02 05ffffffffffffffff7f ffffffffffffffffff0101"},
		{"an unknown tag", 0, "00 03 02 02 02 01 00"},
		{"a put that ends early", 0, "00 01 02 02 02 01"},
		{"too many attempts", 0, "00 01 02 02 02 808004 00"},
	}
	for _, tt := range tests {
		body, err := hex.DecodeString(strings.ReplaceAll(tt.body, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		b := append(make([]byte, headerSize), body...)
		seal(b, tt.flags, 0)
		if err := new(part).parse(b); !errors.Is(err, errBad) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// TestTable puts and drops, in every kind of order, and compares with a map.
func TestTable(t *testing.T) {
	const n = 2*minTail + 1000
	orders := []struct {
		name string
		id   func(rng *rand.Rand, i int) uint64
	}{
		{"ascending", func(_ *rand.Rand, i int) uint64 { return uint64(i) }},
		{"descending", func(_ *rand.Rand, i int) uint64 { return uint64(n - i) }},
		{"random", func(rng *rand.Rand, _ int) uint64 { return rng.Uint64N(n / 2) }},
		{"few", func(rng *rand.Rand, _ int) uint64 { return rng.Uint64N(10) }},
		{"ascending twice", func(_ *rand.Rand, i int) uint64 { return uint64(i % (n / 2)) }},
	}
	for _, order := range orders {
		for _, drops := range []int{0, 3} {
			rng := rand.New(rand.NewPCG(1, uint64(drops)))
			want := map[uint64]Entry{}
			var tab table
			for i := range n {
				e := Entry{ID: order.id(rng, i), Place: uint64(i)}
				if rng.IntN(10) < drops {
					e.State = gone
					delete(want, e.ID)
				} else {
					want[e.ID] = e
				}
				tab.put(e)
			}
			got := map[uint64]Entry{}
			for _, e := range tab.all() {
				got[e.ID] = e
			}
			if !maps.Equal(got, want) {
				t.Errorf("%s, %d of 10 dropped: %d entries, want %d", order.name, drops, len(got), len(want))
			}
			if all := tab.all(); len(all) != len(got) || !slices.IsSortedFunc(all, func(a, b Entry) int { return int(a.ID) - int(b.ID) }) {
				t.Errorf("%s, %d of 10 dropped: not sorted, or not one an ID", order.name, drops)
			}
		}
	}
}
