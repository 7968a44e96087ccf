package session

import "github.com/millrace-mq/millrace/protocol"

// Sizes of a connection's read buffer in bytes. It starts small, grows while
// reads fill it or a command needs it, and is small again on an idle line.
const (
	smallInput = 4 << 10
	largeInput = 256 << 10 // reads alone grow it no further
)

// input is what was read and not yet handled. What take and line return is
// valid until space is called.
type input struct {
	buf        []byte
	start, end int
	full       bool // the last read filled the buffer
}

func (in *input) buffered() int { return in.end - in.start }

func (in *input) bytes() []byte { return in.buf[in.start:in.end] }

// take returns the next n bytes, which must be buffered.
func (in *input) take(n int) []byte {
	b := in.buf[in.start : in.start+n : in.start+n]
	in.start += n
	return b
}

// space returns room to read into. The buffer at most doubles each time, so
// that a client must have sent half of what it makes the daemon allocate.
func (in *input) space() []byte {
	// What is left of a command is moved to the front, but not before room
	// gets scarce: batches are large, and moving is copying.
	if in.start == in.end {
		in.start, in.end = 0, 0
	} else if in.start > 0 && len(in.buf)-in.end < len(in.buf)/4 {
		copy(in.buf, in.buf[in.start:in.end])
		in.start, in.end = 0, in.end-in.start
	}
	if size := len(in.buf); in.end == size || in.full && size < largeInput {
		grown := make([]byte, max(smallInput, 2*size))
		copy(grown, in.buf[:in.end])
		in.buf, in.full = grown, false
	}
	return in.buf[in.end:]
}

func (in *input) filled(n int) {
	in.end += n
	in.full = in.end == len(in.buf)
}

// shrink gives up a large buffer that nothing is in.
func (in *input) shrink() {
	if in.buffered() == 0 && len(in.buf) > smallInput {
		in.buf, in.start, in.end = make([]byte, smallInput), 0, 0
	}
}

// line returns the length of the command line at the start, its newline
// included; 0 if it has not come whole.
func (in *input) line() (n int, err error) {
	b := in.bytes()
	for i, c := range b[:min(len(b), protocol.MaxLine)] {
		if c == '\n' {
			return i + 1, nil
		}
	}
	if len(b) >= protocol.MaxLine {
		return 0, errLine
	}
	return 0, nil
}
