package load

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"github.com/millrace-mq/millrace/protocol"
)

// ring is a producer's window as bytes: commands of one size side by side, so
// that any run of them goes out in one write. Only the tags change between
// rounds. What a compressor makes of the bodies is honest as long as the ring is
// longer than it looks back, 64 KiB at most; 4 MPUBs of 200 bodies of 200 bytes are.
type ring struct {
	buf    []byte
	unit   int // bytes of a command
	batch  int // messages in a command
	first  int // offset of the first body in a command
	stride int // from body to body
	units  int // commands in the ring
}

// newRing builds units commands, each an MPUB of batch bodies, or a PUB when
// batch is 1. A body is size bytes, MinSize at least.
func newRing(topic string, batch, size, units int) *ring {
	r := &ring{batch: batch, stride: 4 + size, units: units}
	// #nosec G404 G115 -- numbers that are the same each time, to measure the same
	random := rand.New(rand.NewPCG(uint64(size), uint64(batch)))
	bodies := make([][]byte, batch)
	for range units {
		for i := range bodies {
			bodies[i] = text(random, size)
		}
		if batch == 1 {
			r.buf = protocol.AppendPub(r.buf, topic, bodies[0])
		} else {
			r.buf = protocol.AppendMPub(r.buf, topic, bodies)
		}
	}
	r.unit = len(r.buf) / units
	r.first = r.unit - size - (batch-1)*r.stride
	return r
}

// text is a body of size bytes that compresses about as well as what is often
// published: lines of JSON whose names are the same and whose values differ. The
// bytes where tag and due time will be are part of it.
func text(random *rand.Rand, size int) []byte {
	states := []string{"created", "paid", "packed", "shipped", "returned"}
	body := make([]byte, 0, size+150)
	for len(body) < size {
		body = fmt.Appendf(body, `{"order":%d,"customer":"c-%d","state":%q,"amount":%d.%02d,"currency":"EUR","items":[{"sku":"%08x","count":%d}]}`,
			random.IntN(1e9), random.IntN(1e6), states[random.IntN(len(states))],
			random.IntN(1000), random.IntN(100), random.Uint32(), 1+random.IntN(9))
	}
	return body[:size:size]
}

// stamp gives the messages of n commands from the unit at on the tags from
// first up, and returns the commands' bytes.
func (r *ring) stamp(at, n int, first uint64) []byte {
	run := r.buf[at*r.unit : (at+n)*r.unit]
	for u := range n {
		body := u*r.unit + r.first + tagOffset
		for range r.batch {
			binary.BigEndian.PutUint64(run[body:], first)
			first++
			body += r.stride
		}
	}
	return run
}
