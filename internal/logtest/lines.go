// Package logtest keeps what is logged, for tests that look at it while it goes on.
package logtest

import (
	"strings"
	"sync"
)

// Lines is where a logger writes to. The zero Lines is empty. It is safe for concurrent
// use.
type Lines struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer. It does not fail.
func (l *Lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// String returns all that was logged so far.
func (l *Lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
