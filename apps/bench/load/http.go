package load

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"
)

// Posts are keep-alive connections that publish to one topic over HTTP, each
// with one POST /pub in flight. Requests are built beforehand and answers
// looked at just enough to know that they are OK, so that what is measured is
// the server.
type Posts struct {
	list     []*poster
	progress *Progress
}

// OpenPosts opens connections to the HTTP address addr, without publishing yet.
// Bodies have size bytes, MinSize at least.
func OpenPosts(ctx context.Context, addr, topic string, connections, size int, progress *Progress) (*Posts, error) {
	ps := &Posts{progress: progress}
	d := net.Dialer{Timeout: handshakeTimeout}
	for i := range connections {
		c, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			ps.Close()
			return nil, fmt.Errorf("connecting to the broker's HTTP: %w", err)
		}
		head := fmt.Appendf(nil, "POST /pub?topic=%s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n", topic, addr, size)
		ps.list = append(ps.list, &poster{
			conn: &conn{Conn: c, from: c, to: c}, id: i, body: len(head),
			request: append(head, bytes.Repeat([]byte{'a'}, size)...),
			answer:  make([]byte, 4096),
		})
	}
	return ps, nil
}

// Close ends connections that were not run.
func (ps *Posts) Close() {
	for _, p := range ps.list {
		_ = p.conn.Close()
	}
}

// Run publishes messages together, or fewer when limit passes first, and
// returns how many were answered OK. It ends the connections.
func (ps *Posts) Run(ctx context.Context, messages int64, limit time.Duration) (published int64, err error) {
	counts := make([]int64, len(ps.list))
	until := time.Now().Add(limit)
	each := (messages + int64(len(ps.list)) - 1) / int64(len(ps.list))
	var parts []func(context.Context) error
	for i, p := range ps.list {
		parts = append(parts, func(ctx context.Context) (err error) {
			counts[i], err = p.run(ctx, each, until, ps.progress)
			return err
		})
	}
	err = Together(ctx, parts...)
	for _, n := range counts {
		published += n
	}
	return published, err
}

type poster struct {
	conn    *conn
	id      int
	request []byte
	body    int // where it begins in the request
	answer  []byte
}

func (p *poster) run(ctx context.Context, messages int64, until time.Time, progress *Progress) (n int64, err error) {
	defer p.conn.during(ctx)()
	const doing = "publishing over HTTP"
	for n < messages && (n == 0 || time.Now().Before(until)) {
		// #nosec G115 -- numbers that the bench itself has drawn or counted, never negative
		binary.BigEndian.PutUint64(p.request[p.body+tagOffset:], tag(p.id, uint64(n)))
		if _, err := p.conn.Write(p.request); err != nil {
			return n, because(ctx, err, doing)
		}
		if err := p.wait(); err != nil {
			return n, because(ctx, err, doing)
		}
		n++
		progress.Add(1)
	}
	return n, nil
}

var (
	httpOK     = []byte("HTTP/1.1 200 ")
	httpEnd    = []byte("\r\n\r\n")
	httpLength = []byte("\r\nContent-Length: ")
)

// errAnswer is an answer that is not how a keep-alive server says OK.
var errAnswer = errors.New("the broker answered")

// wait reads one answer, which must be OK and leave the connection open.
func (p *poster) wait() error {
	read := 0
	for {
		n, err := p.conn.Read(p.answer[read:])
		if err != nil {
			return err
		}
		read += n
		got := p.answer[:read]
		whole, known := answerLength(got)
		switch {
		case known && read == whole && bytes.HasPrefix(got, httpOK) && bytes.HasSuffix(got, []byte("\r\n\r\nOK")):
			return nil
		case known && read >= whole || read == len(p.answer):
			return fmt.Errorf("%w %.200q", errAnswer, got)
		}
	}
}

// answerLength returns how many bytes an answer has, its header included, once
// enough of it was read to know.
func answerLength(got []byte) (n int, known bool) {
	end := bytes.Index(got, httpEnd)
	if end < 0 {
		return 0, false
	}
	at := bytes.Index(got[:end], httpLength)
	if at < 0 {
		return end, true
	}
	digits := got[at+len(httpLength) : end]
	digits, _, _ = bytes.Cut(digits, []byte("\r"))
	size, err := strconv.Atoi(string(digits))
	return end + len(httpEnd) + size, err == nil
}
