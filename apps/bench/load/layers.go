package load

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/flate"

	"github.com/millrace-mq/millrace/protocol"
)

// Layers is what a connection asks for between the socket and V2. The zero
// value asks for nothing. Snappy and Deflate exclude each other.
type Layers struct {
	TLS     *tls.Config // nil for none
	Snappy  bool
	Deflate int // level, 1 to 9; 0 for none
}

// Plain reports whether nothing is asked for.
func (l Layers) Plain() bool { return l.TLS == nil && !l.Snappy && l.Deflate == 0 }

// String names the layers from the socket up, as in "tls+deflate 6".
func (l Layers) String() string {
	var names []string
	if l.TLS != nil {
		names = append(names, "tls")
	}
	if l.Snappy {
		names = append(names, "snappy")
	}
	if l.Deflate > 0 {
		names = append(names, fmt.Sprintf("deflate %d", l.Deflate))
	}
	if len(names) == 0 {
		return "plain"
	}
	return strings.Join(names, "+")
}

// granted is nil if the broker's answer to IDENTIFY has all that was asked for.
func (l Layers) granted(a protocol.IdentifyResponse) error {
	switch {
	case l.TLS != nil && !a.TLSv1:
		return errors.New("the broker has no TLS")
	case l.Snappy && !a.Snappy:
		return errors.New("the broker has no Snappy")
	case l.Deflate > 0 && !a.Deflate:
		return errors.New("the broker has no Deflate")
	case l.Deflate > 0 && a.DeflateLevel != l.Deflate:
		return fmt.Errorf("the broker compresses at level %d instead of %d", a.DeflateLevel, l.Deflate)
	}
	return nil
}

// packed is how many compressed bytes one read takes, and one write if the
// compressor makes smaller ones.
const packed = 64 << 10

// flusher is a compressor.
type flusher interface {
	io.Writer
	Flush() error
}

// deflater is a compressor that writes a few hundred bytes at a time, with what
// collects them.
type deflater struct {
	*flate.Writer
	collect *bufio.Writer
}

func (d deflater) Flush() error {
	if err := d.Writer.Flush(); err != nil {
		return err
	}
	return d.collect.Flush()
}

// upgrade sets up the layers that the broker has granted, and awaits the OK that
// confirms each.
func (c *conn) upgrade(ctx context.Context, l Layers) error {
	if l.TLS != nil {
		_ = c.SetDeadline(time.Now().Add(handshakeTimeout))
		t := tls.Client(c.Conn, l.TLS)
		if err := t.HandshakeContext(ctx); err != nil {
			return fmt.Errorf("TLS handshake: %w", err)
		}
		c.from, c.to = t, t
		if err := c.confirmed(); err != nil {
			return fmt.Errorf("over TLS: %w", err)
		}
	}
	var err error
	switch from := bufio.NewReaderSize(wakeful{c, c.from}, packed); {
	case l.Snappy:
		c.from, c.pack = snappy.NewReader(from), snappy.NewBufferedWriter(c.to)
	case l.Deflate > 0:
		d := deflater{collect: bufio.NewWriterSize(c.to, packed)}
		if d.Writer, err = flate.NewWriter(d.collect, l.Deflate); err != nil {
			return fmt.Errorf("deflate level %d: %w", l.Deflate, err)
		}
		c.from, c.pack = flate.NewReader(from), d
	default:
		c.from = wakeful{c, c.from}
		return nil
	}
	if err := c.confirmed(); err != nil {
		return fmt.Errorf("compressed: %w", err)
	}
	return nil
}

// confirmed awaits the OK of a layer.
func (c *conn) confirmed() error {
	answer, err := c.ask(nil)
	if err == nil && string(answer) != protocol.OK {
		err = fmt.Errorf("the broker sent %.40q where OK was due", answer)
	}
	return err
}

// wakeful is what a conn reads from beneath its decompressor. A decompressor
// keeps an error for ever, so a deadline that is there to wake whoever reads must
// not get as far.
type wakeful struct {
	conn *conn
	from io.Reader
}

func (w wakeful) Read(b []byte) (int, error) {
	for {
		n, err := w.from.Read(b)
		if n > 0 || w.conn.woken == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		_ = w.conn.SetReadDeadline(time.Time{})
		if err := w.conn.woken(); err != nil {
			return 0, err
		}
	}
}
