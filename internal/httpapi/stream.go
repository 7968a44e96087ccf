package httpapi

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/internal/access"
)

const (
	// chunkBytes is how much of a streamed answer is sent at once. One that is not
	// larger is sent in one piece, with its length.
	chunkBytes = 32 << 10

	// chunkTimeout is how long a client may take to make room for a chunk. So a
	// listing of any size gets through to whoever reads a KiB a second, and who
	// has stopped is found out.
	chunkTimeout = 30 * time.Second

	// streamBytes is what an answer under way takes of the memory for unread ones:
	// a chunk, and what net/http has for a connection that is not idle.
	streamBytes = 64 << 10

	// keptBytes is what a handler may keep of its own beside that.
	keptBytes = 16 << 10

	// socketBytes is the kernel's part. By its own measure that is megabytes, for
	// each client that does not read; and a third of it must have been read
	// before there is room again, which takes a slow reader minutes.
	socketBytes = 64 << 10
)

// Stream is an answer that is sent while it is made, in JSON: never more than a
// chunk of it is in memory. A handler need not look at the errors of its writes
// at once: the first one comes back from all that follow.
type Stream struct {
	*bufio.Writer
	to chunks
}

var streams = sync.Pool{New: func() any {
	s := new(Stream)
	s.Writer = bufio.NewWriterSize(&s.to, chunkBytes)
	return s
}}

// OnStream routes method and path to h, for what action says. An error of h's is
// answered as a Handler's while nothing has been sent; after that the connection is
// cut, for a listing that ends early must not look like a whole one. When too much
// memory is taken for clients that do not read, whoever asks for more than a chunk
// is answered 503 BUSY.
func (r *Router) OnStream(method, path string, action access.Action, h func(s *Stream, q Arguments) error) {
	r.route(method, path, action, func(w http.ResponseWriter, req *http.Request) {
		q, err := ParseArguments(req)
		if err != nil {
			r.refuse(w, req, err)
			return
		}
		s := streams.Get().(*Stream)
		s.to = chunks{router: r, w: w, req: req}
		s.Reset(&s.to)
		defer s.release()
		if err := s.fill(h, q); err != nil {
			s.to.fail(err)
		}
	})
}

// fill has h make the answer, and sends it.
func (s *Stream) fill(h func(*Stream, Arguments) error, q Arguments) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic while answering: %v\n%s", p, debug.Stack())
		}
	}()
	if err := h(s, q); err != nil {
		return err
	}
	if s.to.lost != nil {
		return s.to.lost
	}
	s.to.last = true
	err = s.Flush()
	if s.to.held > 0 {
		s.to.wait() // for what net/http still has
	}
	return err
}

// View is View for who has sent the request.
func (s *Stream) View(p access.Policy, action access.Action) func(topic, channel string) bool {
	return View(s.to.req, p, action)
}

// Hold says that h keeps n bytes of its own until the client has made room. What is
// more than it has said before, and than a few KiB, is taken of the memory for
// unread answers until h has returned. It fails with 503 BUSY.
func (s *Stream) Hold(n int) error {
	more := int64(n) - max(s.to.kept, keptBytes)
	if more <= 0 {
		return nil
	}
	s.to.kept = int64(n)
	return s.to.hold(more)
}

// Err returns why nothing of what is written will be sent any more; nil if it
// will.
func (s *Stream) Err() error { return s.to.lost }

func (s *Stream) release() {
	s.to.pass()
	if s.to.held > 0 {
		s.to.router.heavy.unread.Give(RemoteOf(s.to.req), s.to.held)
	}
	s.to = chunks{}
	streams.Put(s)
}

// chunks sends a stream's chunks.
type chunks struct {
	router *Router
	w      http.ResponseWriter
	req    *http.Request
	held   int64 // of the memory for unread answers
	kept   int64 // by the handler, of which held has what is beyond keptBytes
	turn   bool  // to make more; see Router.turns
	begun  bool  // too late to refuse
	last   bool  // no chunk follows the next one
	lost   error // why nothing can be sent any more
}

// Write sends a chunk, and waits for its turn to make another.
func (c *chunks) Write(p []byte) (n int, err error) {
	if !c.begun {
		if c.lost = c.first(len(p)); c.lost != nil {
			return 0, c.lost
		}
	}
	if c.held > 0 { // or Patient's deadline will do
		c.pass()
		c.wait()
	}
	if n, c.lost = c.w.Write(p); c.lost == nil && !c.last {
		c.await()
	}
	return n, c.lost
}

// first prepares for the first chunk, which is of size bytes and may be all.
func (c *chunks) first(size int) error {
	h := c.w.Header()
	if c.last {
		h["Content-Length"] = []string{strconv.Itoa(size)}
	} else {
		if err := c.hold(streamBytes); err != nil {
			return err
		}
		shrink(c.req)
	}
	h[nsqName], h[typeName] = nsqValue, jsonValue
	c.begun = true
	return nil
}

// await waits for a turn. It does not look at the request's context: that ends when
// a client says that it will send nothing more, and such a one reads on; one that has
// gone is found out by the next chunk.
func (c *chunks) await() {
	c.router.turns <- struct{}{}
	c.turn = true
}

// pass lets another answer be made.
func (c *chunks) pass() {
	if c.turn {
		<-c.router.turns
		c.turn = false
	}
}

// wait gives the client time for another chunk.
func (c *chunks) wait() {
	_ = http.NewResponseController(c.w).SetWriteDeadline(time.Now().Add(chunkTimeout)) // fails in tests without a connection
}

func (c *chunks) hold(n int64) error {
	if !c.router.heavy.unread.Take(RemoteOf(c.req), n) {
		return c.router.busy(c.req)
	}
	c.held += n
	return nil
}

// fail ends an answer that cannot be completed.
func (c *chunks) fail(err error) {
	if !c.begun {
		c.router.refuse(c.w, c.req, err)
		return
	}
	_, told := errors.AsType[*Error](err) // and logged, sparingly
	switch {
	case errors.Is(c.lost, os.ErrDeadlineExceeded):
		c.router.unread(c.req)
	case c.lost == nil && !told:
		c.router.log.Error("an answer is cut off", "path", c.req.URL.Path, "client", c.req.RemoteAddr, "error", err)
	}
	if !c.req.ProtoAtLeast(1, 1) {
		// Before HTTP/1.1 the end of the connection is how an answer ends; only a
		// reset says that this one has not.
		if s, ok := socket(c.req).(interface{ SetLinger(sec int) error }); ok {
			_ = s.SetLinger(0)
		}
	}
	panic(http.ErrAbortHandler)
}

// shrink bounds what the kernel has of an answer.
func shrink(req *http.Request) {
	if s, ok := socket(req).(interface{ SetWriteBuffer(bytes int) error }); ok {
		_ = s.SetWriteBuffer(socketBytes) // it is slower or larger without
	}
}

// connKey is the key of a request's connection in its context.
type connKey struct{}

// withConn puts a connection where socket finds it.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// socket returns the socket that a request came by; nil if there is none.
func socket(req *http.Request) net.Conn {
	c, _ := req.Context().Value(connKey{}).(net.Conn)
	return socketOf(c)
}

// socketOf returns what lies below TLS and lazy deadlines.
func socketOf(c net.Conn) net.Conn {
	if sealed, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = sealed.NetConn()
	}
	if lazy, ok := c.(*lazyConn); ok {
		c = lazy.Conn
	}
	return c
}
