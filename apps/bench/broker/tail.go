package broker

import (
	"bytes"
	"fmt"
	"sync"
)

// Tail keeps the end of what a process writes, for the error if it dies.
type Tail struct {
	mu   sync.Mutex
	last []byte
}

// Write takes all of b, and keeps the end.
func (t *Tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = append(t.last, b...)
	if over := len(t.last) - 4096; over > 0 {
		t.last = append(t.last[:0], t.last[over:]...)
	}
	return len(b), nil
}

// Line returns the last line written, or else what status says.
func (t *Tail) Line(status error) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := bytes.TrimSpace(t.last)
	if i := bytes.LastIndexByte(text, '\n'); i >= 0 {
		text = text[i+1:]
	}
	if len(text) == 0 {
		return fmt.Sprintf("it said nothing (%v)", status)
	}
	return string(text)
}
