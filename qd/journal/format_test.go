package journal

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"strings"
	"testing"
)

// Version 1 as it lies on disk. These bytes never change.
const goldenSegment = "" +
	"52534547" + "01" + "01" + "0000" + // magic, version, kind, flags
	"0700000000000000" + // number
	"e803000000000000" + // first position
	"0600000000000000" + // synced
	"efbeadde" + // salt
	"b7cde368" // CRC

const goldenRecord = "" +
	"b4e1d2c3" + "01" + "02" + "0000" + // magic, version, kind, flags
	"44000000" + "02000000" + // body length, count
	"e803000000000000" + // position
	"0000000002000000" + // first ID
	"00e40b5402000000" + // published
	"00c817a804000000" + // due
	"000000000000000000000000000000000000000000000000" + // epoch, index, origin
	"efbeadde" + // salt
	"78563412" + // body CRC
	"00000000" +
	"abde612a" // CRC

var (
	goldenSegmentHeader = segmentHeader{number: 7, first: 1000, synced: 6, salt: 0xdeadbeef}
	goldenHeader        = Header{
		Kind: Deferred, Length: 68, Count: 2, Position: 1000, FirstID: 1 << 33,
		Published: 1e10, Due: 2e10, salt: 0xdeadbeef, bodyCRC: 0x12345678,
	}
)

func TestGolden(t *testing.T) {
	var s [segmentHeaderSize]byte
	goldenSegmentHeader.put(s[:])
	if got := hex.EncodeToString(s[:]); got != goldenSegment {
		t.Errorf("segment header:\n%s, want\n%s", got, goldenSegment)
	}
	var r [recordHeaderSize]byte
	goldenHeader.put(r[:])
	if got := hex.EncodeToString(r[:]); got != goldenRecord {
		t.Errorf("record header:\n%s, want\n%s", got, goldenRecord)
	}
	if name := segmentName(7, 1000); name != "00000007-00000000000003e8.log" {
		t.Errorf("name %s", name)
	}
}

// reseal makes the CRC of a header right again.
func reseal(b []byte) {
	n := len(b) - 4
	binary.LittleEndian.PutUint32(b[n:], crc32.Checksum(b[:n], castagnoli))
}

func TestHeaders(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(b []byte)
		want   error
	}{
		{"as it was", func([]byte) {}, nil},
		{"version, CRC right", func(b []byte) { b[4] = 2; reseal(b) }, ErrVersion},
		{"version, CRC wrong", func(b []byte) { b[4] = 2 }, errDamaged},
		{"flags", func(b []byte) { b[6] = 1; reseal(b) }, ErrVersion},
		{"magic", func(b []byte) { b[0]++; reseal(b) }, errDamaged},
	} {
		s, r := unhex(goldenSegment), unhex(goldenRecord)
		c.change(s)
		c.change(r)
		if h, err := parseSegmentHeader(s); !errors.Is(err, c.want) || err == nil && h != goldenSegmentHeader {
			t.Errorf("%s: segment header %+v, %v", c.name, h, err)
		}
		if h, err := parseHeader(r); !errors.Is(err, c.want) || err == nil && h != goldenHeader {
			t.Errorf("%s: record header %+v, %v", c.name, h, err)
		}
	}
	for _, c := range []struct {
		name  string
		off   int
		value uint64
	}{
		{"no message", 12, 0}, {"too many messages", 12, 3}, {"position", 16, 1<<64 - 2}, {"ID", 24, 1<<64 - 2}, {"zero", 80, 1},
	} {
		r := unhex(goldenRecord)
		if c.off == 12 || c.off == 80 {
			binary.LittleEndian.PutUint32(r[c.off:], uint32(c.value))
		} else {
			binary.LittleEndian.PutUint64(r[c.off:], c.value)
		}
		reseal(r)
		if h, err := parseHeader(r); !errors.Is(err, errDamaged) {
			t.Errorf("%s: %+v, %v", c.name, h, err)
		}
	}
	r := unhex(goldenRecord)
	binary.LittleEndian.PutUint32(r[8:], MaxBody+1)
	reseal(r)
	if _, err := parseHeader(r); !errors.Is(err, errDamaged) {
		t.Errorf("a body of more than MaxBody: %v", err)
	}
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func TestSegmentNames(t *testing.T) {
	for _, name := range []string{"00000001-0000000000000000.log", "123456789abcdef0-ffffffffffffffff.log"} {
		n, first, ok := parseSegmentName(name)
		if !ok || segmentName(n, first) != name {
			t.Errorf("%s: %d, %d, %t", name, n, first, ok)
		}
	}
	for _, name := range []string{"", ".log", "1-0.log", "00000001-0000000000000000.log.new", "0000000A-0000000000000000.log", "damaged", "00000001.log", strings.Repeat("f", 17) + "-0000000000000000.log"} {
		if _, _, ok := parseSegmentName(name); ok {
			t.Errorf("%q is taken for a segment", name)
		}
	}
}

func FuzzRecord(f *testing.F) {
	f.Add(unhex(goldenRecord))
	f.Add(unhex(goldenSegment))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := parseHeader(b); err == nil {
			var again [recordHeaderSize]byte
			if h.put(again[:]); !bytes.Equal(again[:], b[:recordHeaderSize]) {
				t.Fatalf("%x re-encodes as %x", b, again)
			}
		}
		if h, err := parseSegmentHeader(b); err == nil {
			var again [segmentHeaderSize]byte
			if h.put(again[:]); !bytes.Equal(again[:], b[:segmentHeaderSize]) {
				t.Fatalf("%x re-encodes as %x", b, again)
			}
		}
		// What a fuzzer cannot guess, it is given: the right CRC.
		if len(b) == recordHeaderSize {
			b = bytes.Clone(b)
			binary.LittleEndian.PutUint32(b, recordMagic)
			reseal(b)
			if h, err := parseHeader(b); err == nil {
				var again [recordHeaderSize]byte
				if h.put(again[:]); !bytes.Equal(again[:], b) {
					t.Fatalf("%x re-encodes as %x", b, again)
				}
			}
		}
	})
}
