package registry

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"strconv"
	"time"
)

// client is a keep-alive connection for GETs, one at a time: what it costs is a
// write and a read. One goroutine at a time reads from it, and one writes.
type client struct {
	addr  string
	from  int // which of the loopback's addresses it calls from
	stall time.Duration

	conn    net.Conn
	in      *bufio.Reader
	unwatch func() bool
	request []byte

	// The answer that is being read.
	status  int
	left    int64 // bytes of the body; -1 if it is chunked
	chunked io.Reader
	last    bool // the server closes behind it
}

// open connects, anew if it was connected. The connection ends with ctx.
func (c *client) open(ctx context.Context) (err error) {
	c.close()
	if c.conn, err = dial(ctx, c.addr, c.from, c.stall); err != nil {
		return fmt.Errorf("connecting to lookupd's HTTP: %w", err)
	}
	conn := c.conn
	c.unwatch = context.AfterFunc(ctx, func() { _ = conn.Close() })
	c.in = bufio.NewReaderSize(impatient{c.conn, c.stall}, 16<<10)
	c.last = false
	return nil
}

func (c *client) close() {
	if c.conn != nil {
		c.unwatch()
		_ = c.conn.Close()
		c.conn = nil
	}
}

// send writes a request.
func (c *client) send(path []byte) error {
	c.request = append(append(c.request[:0], "GET "...), path...)
	c.request = append(append(append(c.request, " HTTP/1.1\r\nHost: "...), c.addr...), "\r\n\r\n"...)
	_ = c.conn.SetWriteDeadline(time.Now().Add(c.stall))
	_, err := c.conn.Write(c.request)
	return err
}

// receive reads the head of an answer. The client is then a Reader of its body,
// which must be read to its end before the next request.
func (c *client) receive() error {
	c.status, c.left, c.chunked = 0, 0, nil
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		line = bytes.TrimRight(line, "\r\n")
		switch {
		case c.status == 0:
			if err := c.statusLine(line); err != nil {
				return err
			}
		case len(line) == 0:
			return nil
		default:
			if err := c.header(line); err != nil {
				return err
			}
		}
	}
}

func (c *client) statusLine(line []byte) (err error) {
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return fmt.Errorf("lookupd answered %.200q", line)
	}
	if c.status, err = strconv.Atoi(string(line[9:12])); err != nil || c.status < 200 {
		return fmt.Errorf("lookupd answered %.200q", line)
	}
	return nil
}

func (c *client) header(line []byte) (err error) {
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimSpace(value)
	switch {
	case bytes.EqualFold(name, []byte("Content-Length")):
		if c.left, err = strconv.ParseInt(string(value), 10, 64); err != nil || c.left < 0 {
			return fmt.Errorf("lookupd sent Content-Length %.50q", value)
		}
	case bytes.EqualFold(name, []byte("Transfer-Encoding")):
		c.left, c.chunked = -1, httputil.NewChunkedReader(c.in)
	case bytes.EqualFold(name, []byte("Connection")):
		c.last = bytes.EqualFold(value, []byte("close"))
	}
	return nil
}

// Read reads from the body. An answer that is cut short is io.ErrUnexpectedEOF.
func (c *client) Read(b []byte) (n int, err error) {
	if c.chunked != nil {
		n, err = c.chunked.Read(b)
		if err == io.EOF {
			return n, c.trailer()
		}
		return n, err
	}
	if c.left <= 0 {
		return 0, io.EOF
	}
	n, err = c.in.Read(b[:min(int64(len(b)), c.left)])
	c.left -= int64(n)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// trailer reads what follows the last chunk, up to an empty line.
func (c *client) trailer() error {
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return io.ErrUnexpectedEOF
		}
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			c.chunked = nil
			return io.EOF
		}
	}
}

// get asks for path and reads the whole answer behind dst.
func (c *client) get(ctx context.Context, path string, dst []byte) ([]byte, error) {
	err := c.begin(ctx, path)
	if err == nil {
		dst, err = c.rest(dst)
	}
	if err == nil && c.status != 200 {
		err = fmt.Errorf("lookupd answered %d %.200q", c.status, dst)
	}
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", path, because(ctx, err))
	}
	return dst, nil
}

// begin asks for path and reads the head of the answer.
func (c *client) begin(ctx context.Context, path string) error {
	if c.conn == nil || c.last {
		if err := c.open(ctx); err != nil {
			return err
		}
	}
	if err := c.send([]byte(path)); err != nil {
		return err
	}
	return c.receive()
}

// rest reads the rest of the answer behind dst.
func (c *client) rest(dst []byte) ([]byte, error) {
	for {
		if len(dst) == cap(dst) {
			dst = append(dst, 0)[:len(dst)]
		}
		n, err := c.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if err == io.EOF {
			return dst, nil
		}
		if err != nil {
			return dst, err
		}
	}
}

// impatient fails when nothing comes for stall.
type impatient struct {
	net.Conn
	stall time.Duration
}

func (i impatient) Read(b []byte) (int, error) {
	_ = i.SetReadDeadline(time.Now().Add(i.stall))
	return i.Conn.Read(b)
}
