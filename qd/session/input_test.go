package session

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestInputGrowth checks that the read buffer is never much larger than what
// the client has sent, whatever it says is to come.
func TestInputGrowth(t *testing.T) {
	for _, read := range []int{1, 100, 1460, 4096, 1 << 20} {
		var in input
		for sent := 0; sent < 8<<20; {
			n := min(read, len(in.space()))
			in.filled(n)
			sent += n
			if limit := max(smallInput, 4*sent); len(in.buf) > limit {
				t.Fatalf("in reads of %d: a buffer of %d bytes for %d", read, len(in.buf), sent)
			}
			if read < 100 && sent > 1<<16 {
				break
			}
		}
	}
}

// TestInputIdle checks that waiting alone does not make the buffer grow, and
// that it is small again when the line is idle.
func TestInputIdle(t *testing.T) {
	var in input
	in.filled(len(in.space())) // the last read filled the buffer
	in.take(10)
	in.space()
	size := len(in.buf)
	for range 10 {
		in.shrink()
		in.space()
	}
	if len(in.buf) != size {
		t.Errorf("grew from %d to %d bytes without a read", size, len(in.buf))
	}
	in.take(in.buffered())
	in.shrink()
	in.space()
	if len(in.buf) != smallInput {
		t.Errorf("an idle line keeps %d bytes", len(in.buf))
	}
}

// TestInputKeeps feeds bytes in reads of all sizes and takes them out in
// pieces of all sizes: they come out as they went in.
func TestInputKeeps(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var in input
	var sent, got []byte
	for range 5_000 {
		room := in.space()
		n := 1 + r.IntN(len(room))
		if r.IntN(3) > 0 {
			n = min(n, 1+r.IntN(50))
		}
		for i := range n {
			room[i] = byte(r.Uint32())
		}
		sent = append(sent, room[:n]...)
		in.filled(n)
		for in.buffered() > 0 && r.IntN(4) > 0 {
			got = append(got, in.take(1+r.IntN(in.buffered()))...)
		}
		if !bytes.Equal(in.bytes(), sent[len(got):]) || !bytes.HasSuffix(sent, in.bytes()) {
			t.Fatal("bytes were lost or changed")
		}
		if r.IntN(20) == 0 {
			in.shrink()
		}
		if len(sent) > 1<<20 {
			if !bytes.HasPrefix(sent, got) {
				t.Fatal("bytes came out in another order")
			}
			sent, got = append([]byte(nil), in.bytes()...), nil
		}
	}
}
