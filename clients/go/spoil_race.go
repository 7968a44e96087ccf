//go:build race

package millrace

// spoil overwrites memory that is to be used again, so that a program that still
// looks at it sees that at once, and the race detector says where.
func spoil(b []byte) {
	for i := range b {
		b[i] = 0xdb
	}
}

var spoiled = []byte("a message that was used after its batch had been handled")

func (m *Message) spoil() { m.Body = spoiled }
