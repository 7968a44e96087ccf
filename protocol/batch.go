package protocol

import "encoding/binary"

// A batch is what follows the total size in an MPUB: the number of messages,
// then each as its size and its bytes.

// MaxBatchCount is the most messages that a batch within maxBody bytes can
// hold: each takes five bytes at least.
func MaxBatchCount(maxBody int) int { return (maxBody - 4) / 5 }

// CheckBatch reports how many messages the batch holds and how long their
// bodies are together, or which error NSQ gives for the first fault in it.
// After it has passed a batch, Next needs no checks. Unlike NSQ, which leaves
// bytes behind the last message to be read as commands, it refuses a batch
// whose count and sizes do not add up to its length.
func CheckBatch(batch []byte, maxMessage, maxBody int) (count, bytes int, err *Error) {
	if len(batch) < 4 {
		return 0, 0, Errorf(EBadBody, "MPUB failed to read message count")
	}
	// #nosec G115 -- signed in the protocol; below 1 is refused
	n := int32(binary.BigEndian.Uint32(batch))
	if n <= 0 || int(n) > MaxBatchCount(maxBody) {
		return 0, 0, Errorf(EBadBody, "MPUB invalid message count %d", n)
	}
	rest := batch[4:]
	for i := range int(n) {
		if len(rest) < 4 {
			return 0, 0, Errorf(EBadMessage, "MPUB failed to read message(%d) body size", i)
		}
		// #nosec G115 -- signed in the protocol; below 1 is refused
		size := int(int32(binary.BigEndian.Uint32(rest)))
		switch {
		case size <= 0:
			return 0, 0, Errorf(EBadMessage, "MPUB invalid message(%d) body size %d", i, size)
		case size > maxMessage:
			return 0, 0, Errorf(EBadMessage, "MPUB message too big %d > %d", size, maxMessage)
		case size > len(rest)-4:
			return 0, 0, Errorf(EBadMessage, "MPUB failed to read message body")
		}
		rest = rest[4+size:]
	}
	if len(rest) > 0 {
		return 0, 0, Errorf(EBadBody, "MPUB invalid message count %d", n)
	}
	return int(n), len(batch) - 4 - 4*int(n), nil
}

// Next splits the first message body off what follows the count of a batch
// that CheckBatch has passed.
func Next(messages []byte) (body, rest []byte) {
	size := 4 + int(binary.BigEndian.Uint32(messages))
	return messages[4:size], messages[size:]
}

// AppendBatch appends bodies as a batch.
func AppendBatch(dst []byte, bodies [][]byte) []byte {
	// #nosec G115 -- a batch is bounded by max-body-size
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(bodies)))
	for _, b := range bodies {
		// #nosec G115 -- a batch is bounded by max-body-size
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(b)))
		dst = append(dst, b...)
	}
	return dst
}

// BatchSize is the length in bytes of bodies as a batch.
func BatchSize(bodies [][]byte) int {
	size := 4 + 4*len(bodies)
	for _, b := range bodies {
		size += len(b)
	}
	return size
}
