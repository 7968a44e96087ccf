package millrace

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/millrace-mq/millrace/protocol"
)

// FuzzInbox cuts a stream that comes in pieces and compares the frames with
// those that protocol.ReadFrame reads from the whole.
func FuzzInbox(f *testing.F) {
	frames := protocol.AppendMessage(nil, 1, 2, 3, []byte("body"))
	frames = protocol.AppendFrame(frames, protocol.FrameResponse, protocol.Heartbeat)
	f.Add(frames, uint8(3))
	f.Add(append(frames, frames[:9]...), uint8(200))
	f.Add(protocol.AppendMessage(nil, 1, 2, 3, make([]byte, 3*minChunk)), uint8(255))
	f.Add([]byte("\xff\xff\xff\xff\x00\x00\x00\x02"), uint8(1))
	f.Fuzz(func(t *testing.T, stream []byte, piece uint8) {
		var in inbox
		whole := bytes.NewReader(stream)
		rest := stream
		var cut [][]byte // all bodies cut so far, and copies of them
		var copies [][]byte
		for len(rest) > 0 {
			space := in.space()
			if len(space) == 0 {
				t.Fatal("no space to read into")
			}
			n := copy(space[:min(len(space), 1+int(piece))], rest)
			in.filled(n)
			rest = rest[n:]
			expect, messages := in.count(), 0
			for {
				typ, data, ok, err := in.next()
				if err != nil {
					if _, _, want := protocol.ReadFrame(whole, nil, maxFrame); !errors.Is(want, protocol.ErrFrameSize) {
						t.Fatalf("%v, want %v", err, want)
					}
					return
				}
				if !ok {
					break
				}
				wantType, want, err := protocol.ReadFrame(whole, nil, maxFrame)
				if err != nil || typ != wantType || !bytes.Equal(data, want) {
					t.Fatalf("%v %x, want %v %x, %v", typ, data, wantType, want, err)
				}
				if typ == protocol.FrameMessage {
					messages++
				}
				cut, copies = append(cut, data), append(copies, bytes.Clone(data))
			}
			if messages != expect {
				t.Fatalf("%d messages, counted %d", messages, expect)
			}
		}
		for i := range cut {
			if !bytes.Equal(cut[i], copies[i]) {
				t.Fatalf("frame %d was written over", i)
			}
		}
		if _, _, err := protocol.ReadFrame(whole, nil, maxFrame); err != io.EOF && err != io.ErrUnexpectedEOF && !errors.Is(err, protocol.ErrFrameSize) {
			t.Fatalf("a frame was left: %v", err)
		}
	})
}

// TestInboxMemory checks that a size field alone takes no memory.
func TestInboxMemory(t *testing.T) {
	var in inbox
	claim := []byte("\x03\xff\xff\xff\x00\x00\x00\x02")
	in.filled(copy(in.space(), claim))
	for range 10 {
		in.filled(copy(in.space(), make([]byte, 1000)))
		_ = in.space()
	}
	if len(in.chunk) > 64<<10 {
		t.Errorf("a chunk of %d bytes for 10,000 received", len(in.chunk))
	}
}
