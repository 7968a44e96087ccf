package protocol

import (
	"encoding/binary"
	"strconv"
	"time"
)

// The functions below append commands as a client sends them. They check
// nothing: names must be valid and sizes within the daemon's limits.

// AppendIdentify appends IDENTIFY with a JSON body.
func AppendIdentify(dst, body []byte) []byte { return appendSized(append(dst, "IDENTIFY\n"...), body) }

// AppendAuth appends AUTH with the secret.
func AppendAuth(dst, secret []byte) []byte { return appendSized(append(dst, "AUTH\n"...), secret) }

// AppendSub appends SUB.
func AppendSub(dst []byte, topic, channel string) []byte {
	dst = append(append(dst, "SUB "...), topic...)
	dst = append(append(dst, ' '), channel...)
	return append(dst, '\n')
}

// AppendPub appends PUB with a message body.
func AppendPub(dst []byte, topic string, body []byte) []byte {
	dst = append(append(dst, "PUB "...), topic...)
	return appendSized(append(dst, '\n'), body)
}

// AppendDPub appends DPUB with a message body to be delivered after delay,
// which is sent in whole milliseconds, rounded up.
func AppendDPub(dst []byte, topic string, delay time.Duration, body []byte) []byte {
	dst = append(append(dst, "DPUB "...), topic...)
	dst = appendMillis(append(dst, ' '), delay)
	return appendSized(append(dst, '\n'), body)
}

// AppendMPub appends MPUB with bodies as one batch.
func AppendMPub(dst []byte, topic string, bodies [][]byte) []byte {
	dst = append(append(dst, "MPUB "...), topic...)
	dst = append(dst, '\n')
	// #nosec G115 -- a body is bounded by max-body-size, far below 4 GiB
	dst = binary.BigEndian.AppendUint32(dst, uint32(BatchSize(bodies)))
	return AppendBatch(dst, bodies)
}

// AppendRdy appends RDY.
func AppendRdy(dst []byte, n int) []byte {
	dst = strconv.AppendInt(append(dst, "RDY "...), int64(n), 10)
	return append(dst, '\n')
}

// AppendFin appends FIN.
func AppendFin(dst []byte, id MessageID) []byte {
	dst = append(append(dst, "FIN "...), id[:]...)
	return append(dst, '\n')
}

// AppendReq appends REQ with a delay in whole milliseconds, rounded up.
func AppendReq(dst []byte, id MessageID, delay time.Duration) []byte {
	dst = append(append(dst, "REQ "...), id[:]...)
	dst = appendMillis(append(dst, ' '), delay)
	return append(dst, '\n')
}

// AppendTouch appends TOUCH.
func AppendTouch(dst []byte, id MessageID) []byte {
	dst = append(append(dst, "TOUCH "...), id[:]...)
	return append(dst, '\n')
}

// AppendCls appends CLS.
func AppendCls(dst []byte) []byte { return append(dst, "CLS\n"...) }

// AppendSeek appends SEEK, the extension's.
func AppendSeek(dst []byte, place string) []byte {
	return append(append(append(dst, "SEEK "...), place...), '\n')
}

// AppendNop appends NOP.
func AppendNop(dst []byte) []byte { return append(dst, "NOP\n"...) }

func appendSized(dst, body []byte) []byte {
	// #nosec G115 -- a body is bounded by max-body-size, far below 4 GiB
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(body)))
	return append(dst, body...)
}

func appendMillis(dst []byte, d time.Duration) []byte {
	return strconv.AppendInt(dst, int64((d+time.Millisecond-1)/time.Millisecond), 10)
}
