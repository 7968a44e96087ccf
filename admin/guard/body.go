package guard

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// tracked is an answer of which it is known whether it has begun, and for which a client
// has so much time and no more: without that, whoever asks for something large and does
// not read it would keep it in our memory for ever.
type tracked struct {
	http.ResponseWriter
	begun bool
	timed bool // by the handler itself
}

const (
	readTimeout = time.Minute // for a client to take a part of an answer, whatever its size
	readRate    = 32 << 10    // bytes a second that it has to take beside that
)

// allow gives the client time for another n bytes.
func (t *tracked) allow(n int) {
	if !t.timed { // it fails in tests without a connection
		_ = http.NewResponseController(t.ResponseWriter).SetWriteDeadline(time.Now().Add(readTimeout + time.Duration(n)*time.Second/readRate))
	}
}

// SetWriteDeadline is for http.ResponseController. It is left to a handler that uses it.
func (t *tracked) SetWriteDeadline(at time.Time) error {
	t.timed = true
	return http.NewResponseController(t.ResponseWriter).SetWriteDeadline(at)
}

func (t *tracked) WriteHeader(status int) {
	t.begun = t.begun || status >= 200
	t.allow(0)
	t.ResponseWriter.WriteHeader(status)
}

func (t *tracked) Write(p []byte) (int, error) {
	t.begun = true
	t.allow(len(p))
	return t.ResponseWriter.Write(p)
}

// Flush implements http.Flusher.
func (t *tracked) Flush() { _ = t.FlushError() }

// FlushError is for http.ResponseController.
func (t *tracked) FlushError() error {
	t.begun = true
	return http.NewResponseController(t.ResponseWriter).Flush()
}

// Unwrap is for http.ResponseController.
func (t *tracked) Unwrap() http.ResponseWriter { return t.ResponseWriter }

// bounded is a body with a bound, and whether it went beyond.
type bounded struct {
	io.ReadCloser
	over    bool
	control *http.ResponseController
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if _, over := errors.AsType[*http.MaxBytesError](err); over {
		b.over = true
	}
	if err == io.EOF {
		// The server reads on, to see whether the client goes: at the deadline, which was
		// for the body, it would take him for gone, and end the context of what takes long.
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// drain reads what is left of a body that was refused: many a client sends all it has
// before it looks for an answer, and would find a reset in place of it.
func drain(body io.Reader) { _, _ = io.CopyN(io.Discard, body, restBytes) }
