package load

import (
	"encoding/binary"

	"github.com/millrace-mq/millrace/protocol"
)

// ring is a producer's window as bytes: equal commands side by side, so that
// any run of them goes out in one write. Only the tags change between rounds.
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
	body := make([]byte, size)
	for i := range body {
		body[i] = byte('a' + i%26)
	}
	var command []byte
	r := &ring{batch: batch, stride: 4 + size, units: units}
	if batch == 1 {
		command = protocol.AppendPub(nil, topic, body)
	} else {
		bodies := make([][]byte, batch)
		for i := range bodies {
			bodies[i] = body
		}
		command = protocol.AppendMPub(nil, topic, bodies)
	}
	r.unit = len(command)
	r.first = r.unit - size - (batch-1)*r.stride
	for range units {
		r.buf = append(r.buf, command...)
	}
	return r
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
