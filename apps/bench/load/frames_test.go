package load

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/millrace-mq/millrace/protocol"
)

// stream is what a broker may send, and how the walk should see it.
func stream() (wire []byte, want []string) {
	for i := range 5 {
		body := bytes.Repeat([]byte{byte('a' + i)}, i*20)
		wire = protocol.AppendFrame(wire, protocol.FrameResponse, protocol.OK)
		wire = protocol.AppendMessage(wire, 1, 1, uint64(i), body)
		want = append(want, "response 2", fmt.Sprintf("message %d", protocol.MessageHeaderSize+len(body)))
	}
	wire = protocol.AppendFrame(wire, protocol.FrameError, "")
	return wire, append(want, "error 0")
}

// pieces is a reader that gives its pieces one by one.
type pieces [][]byte

func (p *pieces) Read(b []byte) (int, error) {
	for len(*p) > 0 && len((*p)[0]) == 0 {
		*p = (*p)[1:]
	}
	if len(*p) == 0 {
		return 0, io.EOF
	}
	n := copy(b, (*p)[0])
	(*p)[0] = (*p)[0][n:]
	return n, nil
}

func walk(f *frames) (got []string, err error) {
	for {
		if err := f.fill(); err != nil {
			return got, err
		}
		for {
			t, data, ok := f.next()
			if !ok {
				break
			}
			got = append(got, fmt.Sprintf("%s %d", t, len(data)))
		}
	}
}

func TestFramesCutAnywhere(t *testing.T) {
	wire, want := stream()
	for _, size := range []int{8, 64, 4096} { // the first two have to grow
		for cut := range wire {
			got, err := walk(newFrames(&pieces{wire[:cut], wire[cut:]}, size))
			if err != io.EOF || fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("buffer of %d, cut at %d: %q, %v; want %q", size, cut, got, err, want)
			}
		}
		var single pieces
		for i := range wire {
			single = append(single, wire[i:i+1])
		}
		if got, err := walk(newFrames(&single, size)); err != io.EOF || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("buffer of %d, byte by byte: %q, %v", size, got, err)
		}
	}
}

func TestFrameSizeOutOfRange(t *testing.T) {
	for _, size := range []string{"\x00\x00\x00\x00", "\x00\x00\x00\x03", "\xff\xff\xff\xff", "\x7f\xff\xff\xff"} {
		wire := protocol.AppendFrame(nil, protocol.FrameResponse, protocol.OK)
		got, err := walk(newFrames(bytes.NewReader(append(wire, size+"\x00\x00\x00\x00"...)), 64))
		if !errors.Is(err, protocol.ErrFrameSize) || len(got) != 1 {
			t.Errorf("size %x: %q, %v", size, got, err)
		}
	}
}

func FuzzFrames(f *testing.F) {
	wire, _ := stream()
	f.Add(wire, 7)
	f.Fuzz(func(t *testing.T, wire []byte, cut int) {
		if cut < 0 || cut > len(wire) {
			return
		}
		whole, err1 := walk(newFrames(bytes.NewReader(wire), 8))
		parts, err2 := walk(newFrames(&pieces{wire[:cut], wire[cut:]}, 64))
		if fmt.Sprint(whole) != fmt.Sprint(parts) || errors.Is(err1, io.EOF) != errors.Is(err2, io.EOF) {
			t.Fatalf("%x: %q, %v; cut at %d: %q, %v", wire, whole, err1, cut, parts, err2)
		}
	})
}

func BenchmarkConsumerTake(b *testing.B) {
	var wire []byte
	for i := range uint64(2500) {
		body := make([]byte, 200)
		body[6], body[7] = byte(i>>8), byte(i)
		wire = protocol.AppendMessage(wire, 1, 1, i, body)
	}
	c := &consumer{channel: &Channel{}, tally: newTally(1), frames: newFrames(nil, 0)}
	c.frames.buf = wire
	b.SetBytes(int64(len(wire)))
	b.ReportAllocs()
	for b.Loop() {
		c.frames.start, c.frames.end = 0, len(wire)
		if n, _, err := c.take(); n != 2500 || err != nil {
			b.Fatal(n, err)
		}
	}
}
