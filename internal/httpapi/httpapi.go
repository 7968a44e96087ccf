// Package httpapi is what the HTTP faces of qd and lookupd share: NSQ's
// conventions for answers and errors on httprouter, and a server that ends
// with its context.
//
// NSQ's conventions: success is raw JSON or a bare string, an error is
// {"message":"CODE"} with its status, and both carry X-NSQ-Content-Type,
// without which go-nsq expects an envelope of old.
package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/millrace-mq/millrace/internal/limit"
)

// ContentType is the value of X-NSQ-Content-Type.
const ContentType = "nsq; version=1.0"

// Error is an answer that is not a success.
type Error struct {
	Status int
	Code   string // NSQ's word for it, such as MISSING_ARG_TOPIC
	// RetryAfter, if not 0, is when it is worth trying again. It is told in whole seconds.
	RetryAfter time.Duration
}

func (e *Error) Error() string { return e.Code }

// Errorf returns an Error with a formatted code, for the few that end in words.
func Errorf(status int, format string, args ...any) *Error {
	return &Error{Status: status, Code: fmt.Sprintf(format, args...)}
}

// What answers carry, in the form of a header's values, and under names that need
// no conversion. They are shared by all answers.
var (
	nsqValue  = []string{ContentType}
	jsonValue = []string{"application/json; charset=utf-8"}
	textValue = []string{"text/plain; charset=utf-8"}
)

const (
	nsqName  = "X-Nsq-Content-Type"
	typeName = "Content-Type"
)

// answer is what is sent, and the value of its Content-Type.
type answer struct {
	body []byte
	kind []string
}

// encode makes an answer of what a Handler has returned.
func encode(v any) (a answer, err error) {
	switch v := v.(type) {
	case nil:
		return answer{}, nil
	case string:
		return answer{[]byte(v), textValue}, nil
	case []byte:
		return answer{v, textValue}, nil
	}
	body, err := json.Marshal(v)
	if err != nil {
		err = fmt.Errorf("encoding the answer: %w", err)
	}
	return answer{body, jsonValue}, err
}

func (r *Router) reply(w http.ResponseWriter, req *http.Request, v any, err error) {
	if text, ok := v.(string); ok && err == nil { // such as OK: without a copy
		h := w.Header()
		h[nsqName], h[typeName] = nsqValue, textValue
		_, _ = io.WriteString(w, text)
		return
	}
	var a answer
	if err == nil {
		a, err = encode(v)
	}
	if err != nil {
		r.refuse(w, req, err)
		return
	}
	r.send(w, req, a)
}

// TLSRequired answers every request, /ping included, with 403 and the port to
// try instead, from which NSQ's tools learn to use HTTPS. The port is 0 if
// there is none.
func TLSRequired(httpsPort int) http.Handler {
	body := fmt.Appendf(nil, `{"message": "TLS_REQUIRED", "https_port": %d}`, httpsPort)
	refuse := func(w http.ResponseWriter, req *http.Request) {
		sendRefusal(w, req, http.StatusForbidden, body)
	}
	// net/http reads the body, to see whether another request follows.
	return Patient(http.HandlerFunc(refuse), headerTimeout, headerTimeout)
}

// refuse answers a request with an error.
func (r *Router) refuse(w http.ResponseWriter, req *http.Request, err error) {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		r.log.Error("request failed", "method", req.Method, "path", req.URL.Path, "error", err)
		e = &Error{Status: http.StatusInternalServerError, Code: "INTERNAL_ERROR"}
	}
	if d := DeedOf(req.Context()); d != nil {
		d.Refusal = err
	}
	body, _ := json.Marshal(struct {
		Message string `json:"message"`
	}{e.Code})
	if e.Status != http.StatusRequestTimeout { // or it would have more time
		r.hurry(w, req)
	}
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(int64((e.RetryAfter+time.Second-1)/time.Second), 10))
	}
	sendRefusal(w, req, e.Status, body)
}

// sendRefusal sends the answer to a request that is refused, and then reads on
// within the deadline: many a client sends all it has before it looks for an
// answer, and would find a reset in place of it. Of a small body net/http reads
// the rest itself, before the answer, and the connection goes on.
func sendRefusal(w http.ResponseWriter, req *http.Request, status int, body []byte) {
	h := w.Header()
	h[nsqName], h[typeName] = nsqValue, jsonValue
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="millrace"`) // without it, a 401 says nothing to a client
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
	small := req.ContentLength >= 0 && req.ContentLength <= restByServer
	if small || req.ContentLength > restBytes || req.Body == nil || req.Header.Get("Expect") != "" {
		return
	}
	if http.NewResponseController(w).Flush() == nil {
		_, _ = io.CopyN(io.Discard, req.Body, restBytes)
	}
}

// hurry bounds how long the rest of a refused request is waited for, which
// net/http reads so that the answer is not lost to a reset. Who has not been told
// to continue may send nothing any more.
func (r *Router) hurry(w http.ResponseWriter, req *http.Request) {
	if req.Body == nil || req.Body == http.NoBody {
		return
	}
	rest := restTimeout
	if req.Header.Get("Expect") != "" {
		rest = time.Second
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(rest))
}

const (
	restTimeout  = 5 * time.Second // for what is left of a request that was refused
	restBytes    = 64 << 20        // at most of it; who announces more is cut off
	restByServer = 256 << 10       // net/http's own limit

	headerTimeout = 10 * time.Second // from the first byte of a request to the end of its header
	idleTimeout   = 2 * time.Minute  // between two requests of a connection

	// stopGrace is for requests under way when a daemon ends: it has more to do
	// within the ten seconds that docker leaves it.
	stopGrace = time.Second

	// maxHeader is most bytes of a request line and header; net/http allows for
	// some more. A thousand connections must not be able to take a gigabyte.
	maxHeader = 32 << 10
)

// Serve answers requests on l until ctx ends, lets those under way finish, ends
// their connections after a second, and returns when no handler is left. It
// returns nil when ctx ended it.
func Serve(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) error {
	return ServeSome(ctx, l, h, limit.NewConnections(0, 0), log)
}

// ServeSome is Serve for as many connections as there may be. When there are too many
// in all, one that asks for nothing has to go, and if there is none, who comes is
// answered 503 and hung up on. One that shakes hands for TLS counts.
func ServeSome(ctx context.Context, l net.Listener, h http.Handler, connections *limit.Connections, log *slog.Logger) error {
	sparing := NewSparing(log)
	door := newDoor(l, connections, sparing)
	// A server that is closed does not wait for its handlers, but what they use goes
	// once we have returned. A connection ends after its last handler.
	defer door.wait()
	s := &http.Server{
		Handler:           h,
		ConnState:         door.state,
		ConnContext:       withConn,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          stdlog.New(sparing, "", 0),
	}
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
		defer cancel()
		door.silent.end()
		if s.Shutdown(grace) != nil {
			_ = s.Close()
		}
	})
	err := s.Serve(lazyListener{door})
	if !stop() {
		<-done
		return nil
	}
	_ = s.Close() // the listener failed; what it let in must not outlive us
	return fmt.Errorf("serving HTTP on %s: %w", l.Addr(), err)
}
