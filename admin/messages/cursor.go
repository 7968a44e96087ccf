package messages

import (
	"encoding/base64"
	"encoding/binary"
	"hash/fnv"
	"slices"

	"github.com/millrace-mq/millrace/protocol"
)

// cursor is how far a listing over several nodes has come: the last ID that was shown
// of each, by a hash of its address, for fifty addresses would be too long for a URL.
// Each node's messages are listed by ID, so a cursor stays good while nodes come, go,
// or fail to answer for a page.
type cursor map[uint64]uint64

// A place is a node's entry in a cursor's text.
const placeBytes = 16

func nodeHash(address string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(address))
	return h.Sum64()
}

// after is the ID behind which a node is to go on; empty for its beginning.
func (c cursor) after(node string) string {
	id, ok := c[nodeHash(node)]
	if !ok {
		return ""
	}
	return protocol.FormatID(id).String()
}

// String is the cursor as it stands in URLs.
func (c cursor) String() string {
	nodes := make([]uint64, 0, len(c))
	for n := range c {
		nodes = append(nodes, n)
	}
	slices.Sort(nodes)
	b := make([]byte, 0, len(c)*placeBytes)
	for _, n := range nodes {
		b = binary.BigEndian.AppendUint64(b, n)
		b = binary.BigEndian.AppendUint64(b, c[n])
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// parseCursor reads what String has written; or, with a node, a message's ID.
func parseCursor(s, node string) (cursor, error) {
	c := make(cursor)
	if id, ok := protocol.ParseID([]byte(s)); ok && node != "" {
		c[nodeHash(node)] = id
		return c, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b)%placeBytes != 0 {
		return nil, invalid("after must be what the page before gave as next")
	}
	for ; len(b) > 0; b = b[placeBytes:] {
		c[binary.BigEndian.Uint64(b)] = binary.BigEndian.Uint64(b[8:])
	}
	return c, nil
}
