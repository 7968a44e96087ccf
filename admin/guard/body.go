package guard

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// tracked is an answer of which it is known whether it has begun.
type tracked struct {
	http.ResponseWriter
	begun bool
}

func (t *tracked) WriteHeader(status int) {
	t.begun = t.begun || status >= 200
	t.ResponseWriter.WriteHeader(status)
}

func (t *tracked) Write(p []byte) (int, error) {
	t.begun = true
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
