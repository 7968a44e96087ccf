package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// FrameType says what a frame to a client holds.
type FrameType int32

// The three kinds of frame.
const (
	FrameResponse FrameType = 0
	FrameError    FrameType = 1
	FrameMessage  FrameType = 2
)

func (t FrameType) String() string {
	switch t {
	case FrameResponse:
		return "response"
	case FrameError:
		return "error"
	case FrameMessage:
		return "message"
	}
	return fmt.Sprintf("frame type %d", int32(t))
}

// The literal responses.
const (
	OK        = "OK"
	Heartbeat = "_heartbeat_"
	CloseWait = "CLOSE_WAIT"
)

// Sizes in bytes of what precedes the variable part of a frame.
const (
	FrameHeaderSize   = 8                                   // size, type
	MessageHeaderSize = 8 + 2 + IDLength                    // timestamp, attempts, ID
	MessageOverhead   = FrameHeaderSize + MessageHeaderSize // of a message frame, beyond its body
)

// Offsets of a message's fields from the start of its frame.
const (
	TimestampOffset = FrameHeaderSize
	AttemptsOffset  = TimestampOffset + 8
	IDOffset        = AttemptsOffset + 2
	BodyOffset      = IDOffset + IDLength
)

// AppendFrame appends a frame: its size (4 + len(data)), its type, and data.
func AppendFrame[T string | []byte](dst []byte, t FrameType, data T) []byte {
	// #nosec G115 -- a frame is far below 2 GiB: its maker bounds it
	dst = binary.BigEndian.AppendUint32(dst, uint32(4+len(data)))
	// #nosec G115 -- signed in the protocol: the same 32 bits
	dst = binary.BigEndian.AppendUint32(dst, uint32(t))
	return append(dst, data...)
}

// PutMessageHeader writes everything of a message frame that precedes its body
// into the first MessageOverhead bytes of dst. The timestamp is in nanoseconds
// since the Unix epoch.
func PutMessageHeader(dst []byte, timestamp int64, attempts uint16, id uint64, bodyLen int) {
	_ = dst[MessageOverhead-1]
	// Size and type leave in one store: the type is the low half.
	// #nosec G115 -- a body is bounded by max-msg-size
	binary.BigEndian.PutUint64(dst, uint64(4+MessageHeaderSize+bodyLen)<<32|uint64(FrameMessage))
	// #nosec G115 -- a time, the same 64 bits
	binary.BigEndian.PutUint64(dst[TimestampOffset:], uint64(timestamp))
	binary.BigEndian.PutUint16(dst[AttemptsOffset:], attempts)
	PutID(dst[IDOffset:], id)
}

// AppendMessage appends a message frame.
func AppendMessage(dst []byte, timestamp int64, attempts uint16, id uint64, body []byte) []byte {
	var header [MessageOverhead]byte
	PutMessageHeader(header[:], timestamp, attempts, id, len(body))
	dst = append(dst, header[:]...)
	return append(dst, body...)
}

// Message is a message as a consumer receives it.
type Message struct {
	Timestamp int64  // of its publication, in nanoseconds since the Unix epoch
	Attempts  uint16 // deliveries so far, this one included
	ID        MessageID
	Body      []byte // shares the memory that was parsed
}

// ErrShortMessage is returned for message frames too short to hold a message.
var ErrShortMessage = errors.New("message frame is shorter than its header")

// ParseMessage reads the data of a message frame. Body aliases data.
func ParseMessage(data []byte) (m Message, err error) {
	if len(data) < MessageHeaderSize {
		return m, ErrShortMessage
	}
	// #nosec G115 -- a time, the same 64 bits
	m.Timestamp = int64(binary.BigEndian.Uint64(data))
	m.Attempts = binary.BigEndian.Uint16(data[8:])
	copy(m.ID[:], data[10:])
	m.Body = data[MessageHeaderSize:]
	return m, nil
}

// ErrFrameSize is wrapped by errors for frames whose size is out of range.
var ErrFrameSize = errors.New("frame size out of range")

// ReadFrame reads one frame whose size field is at most limit. The returned
// data lies in buf if it fits, else in newly allocated memory, and is valid
// until the caller uses buf again. io.EOF means that the stream ended between
// two frames; io.ErrUnexpectedEOF, within one.
func ReadFrame(r io.Reader, buf []byte, limit int) (t FrameType, data []byte, err error) {
	if cap(buf) < FrameHeaderSize {
		buf = make([]byte, 512)
	}
	header := buf[:FrameHeaderSize]
	if _, err := io.ReadFull(r, header); err != nil {
		return 0, nil, err
	}
	// #nosec G115 -- signed in the protocol; below 4 is refused
	size := int32(binary.BigEndian.Uint32(header))
	// #nosec G115 -- the same 32 bits: a type that is none is its reader's to refuse
	t = FrameType(binary.BigEndian.Uint32(header[4:]))
	if size < 4 || int(size) > limit {
		return 0, nil, fmt.Errorf("%w: %d not in 4-%d", ErrFrameSize, size, limit)
	}
	n := int(size) - 4
	if n > cap(buf) {
		buf = make([]byte, n)
	}
	data = buf[:n]
	if _, err := io.ReadFull(r, data); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	return t, data, nil
}
