package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"github.com/millrace-mq/millrace/protocol"
)

// A segment, version 1; all numbers little endian, sizes in bytes:
//
//	0  magic u32 │ 4 version u8 │ 5 kind u8 = 1 │ 6 flags u16 = 0
//	8  number u64
//	16 first position u64
//	24 synced u64: segments with lower numbers were on the device, names and all
//	32 salt u32: in every record of this segment
//	36 CRC-32C u32 of bytes 0–35
//	40 records, one behind the other
//
// A record:
//
//	0  magic u32 │ 4 version u8 │ 5 kind u8 │ 6 flags u16 = 0
//	8  body length u32 │ 12 count u32
//	16 position u64 of the first message
//	24 ID u64 of the first message
//	32 published i64, ns │ 40 due i64, ns
//	48 epoch u64 │ 56 index u64 │ 64 origin u64: zero until topics are replicated
//	72 salt u32, the segment's
//	76 CRC-32C u32 of the body │ 80 zero u32 │ 84 CRC-32C u32 of bytes 0–83
//	88 body: count wire frames
//
// Every later version keeps the places of magic, version and header CRC.
const (
	segmentMagic      = 0x47455352 // "RSEG"
	recordMagic       = 0xC3D2E1B4 // not UTF-8, and no run of one byte
	version           = 1
	segmentKind       = 1
	segmentHeaderSize = 40
	recordHeaderSize  = 88
	segmentCRC        = segmentHeaderSize - 4
	recordCRC         = recordHeaderSize - 4
)

// MaxBody is the most bytes a record's frames may have together. A header that
// claims more is taken for damaged before anything is allocated for it.
const MaxBody = 65 << 20

// Kind says what the messages of a record are. The log does not care.
type Kind uint8

// The kinds of record.
const (
	Messages Kind = 1 // published, to be delivered in order
	Deferred Kind = 2 // published with a due time
	Moved    Kind = 3 // copied from elsewhere in the topic
)

// ErrVersion is wrapped by errors for files that another version has written.
var ErrVersion = errors.New("unknown format version")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Header is what a record says of itself.
type Header struct {
	Kind                 Kind
	Length               int // of the frames, bytes
	Count                int // messages
	Position, FirstID    uint64
	Published, Due       int64 // ns since the Unix epoch
	Epoch, Index, Origin uint64

	salt, bodyCRC uint32
}

// End is the position behind the record's last message.
//
// #nosec G115 -- a count of the messages of a record: see sane
func (h *Header) End() uint64 { return h.Position + uint64(h.Count) }

// size is what the record takes in its file.
func (h *Header) size() int64 { return recordHeaderSize + int64(h.Length) }

// put writes the header into the first recordHeaderSize bytes of b.
func (h *Header) put(b []byte) {
	_ = b[recordHeaderSize-1]
	le := binary.LittleEndian
	le.PutUint32(b, recordMagic)
	b[4], b[5] = version, byte(h.Kind)
	le.PutUint16(b[6:], 0)
	// #nosec G115 -- at most MaxBody
	le.PutUint32(b[8:], uint32(h.Length))
	// #nosec G115 -- at most MaxBody messages
	le.PutUint32(b[12:], uint32(h.Count))
	le.PutUint64(b[16:], h.Position)
	le.PutUint64(b[24:], h.FirstID)
	// #nosec G115 -- a time, the same 64 bits
	le.PutUint64(b[32:], uint64(h.Published))
	// #nosec G115 -- a time, the same 64 bits
	le.PutUint64(b[40:], uint64(h.Due))
	le.PutUint64(b[48:], h.Epoch)
	le.PutUint64(b[56:], h.Index)
	le.PutUint64(b[64:], h.Origin)
	le.PutUint32(b[72:], h.salt)
	le.PutUint32(b[76:], h.bodyCRC)
	le.PutUint32(b[80:], 0)
	le.PutUint32(b[recordCRC:], crc32.Checksum(b[:recordCRC], castagnoli))
}

// errDamaged is for headers that were not written like this.
var errDamaged = errors.New("damaged")

// parseHeader reads a record's header. The error is errDamaged or wraps
// ErrVersion.
func parseHeader(b []byte) (h Header, err error) {
	le := binary.LittleEndian
	if len(b) < recordHeaderSize || le.Uint32(b) != recordMagic ||
		le.Uint32(b[recordCRC:]) != crc32.Checksum(b[:recordCRC], castagnoli) {
		return h, errDamaged
	}
	if err := checkVersion(b); err != nil {
		return h, err
	}
	length, count := le.Uint32(b[8:]), le.Uint32(b[12:])
	h = Header{
		Kind: Kind(b[5]), Length: int(length), Count: int(count),
		Position: le.Uint64(b[16:]), FirstID: le.Uint64(b[24:]),
		// #nosec G115 -- times, the same 64 bits
		Published: int64(le.Uint64(b[32:])), Due: int64(le.Uint64(b[40:])),
		Epoch: le.Uint64(b[48:]), Index: le.Uint64(b[56:]), Origin: le.Uint64(b[64:]),
		salt: le.Uint32(b[72:]), bodyCRC: le.Uint32(b[76:]),
	}
	if le.Uint32(b[80:]) != 0 || !h.sane() {
		return h, errDamaged
	}
	return h, nil
}

// sane tells whether a record can be like this.
func (h *Header) sane() bool {
	return h.Count > 0 && h.Length <= MaxBody && h.Length/protocol.MessageOverhead >= h.Count &&
		h.End() > h.Position && h.FirstID+uint64(h.Count) > h.FirstID
}

// checkVersion looks at the version and flags of a header whose CRC is right.
func checkVersion(b []byte) error {
	if b[4] != version {
		return fmt.Errorf("%w %d, this program knows %d", ErrVersion, b[4], version)
	}
	if flags := binary.LittleEndian.Uint16(b[6:]); flags != 0 {
		return fmt.Errorf("%w: flags %#x of version %d", ErrVersion, flags, version)
	}
	return nil
}

// segmentHeader is what stands at the begin of a segment.
type segmentHeader struct {
	number, first uint64
	synced        uint64
	salt          uint32
}

// put writes the header into the first segmentHeaderSize bytes of b.
func (h *segmentHeader) put(b []byte) {
	_ = b[segmentHeaderSize-1]
	le := binary.LittleEndian
	le.PutUint32(b, segmentMagic)
	b[4], b[5] = version, segmentKind
	le.PutUint16(b[6:], 0)
	le.PutUint64(b[8:], h.number)
	le.PutUint64(b[16:], h.first)
	le.PutUint64(b[24:], h.synced)
	le.PutUint32(b[32:], h.salt)
	le.PutUint32(b[segmentCRC:], crc32.Checksum(b[:segmentCRC], castagnoli))
}

// parseSegmentHeader reads a segment's header. The error is errDamaged or
// wraps ErrVersion.
func parseSegmentHeader(b []byte) (h segmentHeader, err error) {
	le := binary.LittleEndian
	if len(b) < segmentHeaderSize || le.Uint32(b) != segmentMagic ||
		le.Uint32(b[segmentCRC:]) != crc32.Checksum(b[:segmentCRC], castagnoli) {
		return h, errDamaged
	}
	if err := checkVersion(b); err != nil {
		return h, err
	}
	if b[5] != segmentKind {
		return h, fmt.Errorf("%w: a file of kind %d", ErrVersion, b[5])
	}
	return segmentHeader{
		number: le.Uint64(b[8:]), first: le.Uint64(b[16:]),
		synced: le.Uint64(b[24:]), salt: le.Uint32(b[32:]),
	}, nil
}

// Names of a log's directory.
const (
	segmentSuffix = ".log"
	copySuffix    = ".new"    // a segment that is not whole yet; worthless after a crash
	unsafeSuffix  = ".unsafe" // an empty file: a sync of the segment has failed
	damagedDir    = "damaged" // bytes that were set aside
)

// segmentName is the file name of a segment.
func segmentName(number, first uint64) string {
	return fmt.Sprintf("%08x-%016x%s", number, first, segmentSuffix)
}

// parseSegmentName is the inverse of segmentName.
func parseSegmentName(name string) (number, first uint64, ok bool) {
	stem, ok := strings.CutSuffix(name, segmentSuffix)
	a, b, cut := strings.Cut(stem, "-")
	if !ok || !cut {
		return 0, 0, false
	}
	number, err1 := strconv.ParseUint(a, 16, 64)
	first, err2 := strconv.ParseUint(b, 16, 64)
	if err1 != nil || err2 != nil || segmentName(number, first) != name {
		return 0, 0, false
	}
	return number, first, true
}

// frameSize reads how many bytes the frame at the begin of b takes, at least
// protocol.MessageOverhead; false if no message frame begins like this. b has
// protocol.FrameHeaderSize bytes.
func frameSize(b []byte) (int64, bool) {
	size := 4 + int64(binary.BigEndian.Uint32(b))
	return size, size >= protocol.MessageOverhead && binary.BigEndian.Uint32(b[4:]) == uint32(protocol.FrameMessage)
}
