package millrace

import (
	"bufio"
	"bytes"
	"compress/flate"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/golang/snappy"

	"github.com/millrace-mq/millrace/protocol"
)

// layers is what is asked of a daemon to lie between the socket and the protocol.
type layers struct {
	tls         *tls.Config // nil: none
	compression Compression
}

// ask adds the wish for them to IDENTIFY.
func (l layers) ask(r *protocol.IdentifyRequest, level int) {
	r.TLSv1 = l.tls != nil
	r.Snappy, r.Deflate = l.compression == Snappy, l.compression == Deflate
	if r.Deflate {
		r.DeflateLevel = level
	}
}

// granted is the compression that was asked for, if the daemon gives it.
func (l layers) granted(info *protocol.IdentifyResponse) Compression {
	if l.compression == Snappy && info.Snappy || l.compression == Deflate && info.Deflate {
		return l.compression
	}
	return None
}

// stack is what there is of layers upon a socket.
type stack struct {
	from io.Reader // what the topmost layer gives
	to   io.Writer // what it takes; it counts plain bytes of which the daemon may see some
	tls  *tls.Conn // nil without TLS
	pack *packer   // nil without compression
}

// socket is the lowest layer. It sees to deadlines, since only here is it known
// when something moves: what is above may need many reads and writes for one.
type socket struct {
	net.Conn
	conn *conn
}

// Read fails when the daemon, which sends heartbeats, has been silent for two of them.
func (s socket) Read(p []byte) (int, error) {
	if err := s.Conn.SetReadDeadline(time.Now().Add(s.conn.silence)); err != nil {
		return 0, err
	}
	if s.conn.broken.Load() { // writeLoop may have set its deadline before ours
		_ = s.Conn.SetReadDeadline(time.Now().Add(lingerDelay))
	}
	return s.Conn.Read(p)
}

func (s socket) Write(p []byte) (int, error) {
	if err := s.Conn.SetWriteDeadline(time.Now().Add(s.conn.writeTimeout)); err != nil {
		return 0, err
	}
	return s.Conn.Write(p)
}

// secure puts TLS upon the socket and shakes hands.
func (c *conn) secure(config *tls.Config) error {
	if config.ServerName == "" {
		config = config.Clone()
		config.ServerName = serverName(c.address)
	}
	secured := tls.Client(socket{c.nc, c}, config)
	switch err := secured.Handshake(); {
	case err == io.EOF:
		return fmt.Errorf("the daemon closed the connection: %w", err)
	case err != nil:
		return err
	}
	c.tls, c.from, c.to = secured, secured, secured
	return nil
}

// serverName is the name that a daemon's certificate must have.
func serverName(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	host, _, _ = strings.Cut(host, "%") // certificates know no zones
	return host
}

// unpackBuffer is how many packed bytes are read at once. Unpackers ask for a few at a time.
const unpackBuffer = 32 << 10

// compress puts compression upon what there is. A level out of range is replaced.
func (c *conn) compress(how Compression, level int) error {
	from, p := bufio.NewReaderSize(c.from, unpackBuffer), &packer{to: c.to}
	switch how {
	case Snappy:
		c.from, p.compressor = snappy.NewReader(from), snappy.NewBufferedWriter(&p.packed)
	case Deflate:
		if level < flate.BestSpeed || level > flate.BestCompression {
			level = defaultDeflateLevel
		}
		w, err := flate.NewWriter(&p.packed, level)
		if err != nil {
			return fmt.Errorf("deflate: %w", err)
		}
		c.from, p.compressor = flate.NewReader(from), w
	}
	c.pack, c.to = p, p
	return nil
}

// pieceSize is how many plain bytes are packed before they are written: a block
// of Snappy's.
const pieceSize = 64 << 10

// packer compresses what is written in pieces. A piece is packed in memory, and
// all of it leaves at once, so that it is known of which plain bytes something
// has left when a write fails.
type packer struct {
	compressor interface {
		io.WriteCloser
		Flush() error
	}
	packed bytes.Buffer // what compressor has made
	to     io.Writer
}

// Write counts a piece as written as soon as any of it was: the daemon may have
// unpacked, and carried out, a part of it.
func (p *packer) Write(b []byte) (n int, err error) {
	for n < len(b) {
		piece := b[n:min(n+pieceSize, len(b))]
		if _, err := p.compressor.Write(piece); err != nil {
			return n, err
		}
		if err := p.compressor.Flush(); err != nil {
			return n, err
		}
		took, err := p.send()
		if took > 0 {
			n += len(piece)
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func (p *packer) send() (took int, err error) {
	defer p.packed.Reset()
	return p.to.Write(p.packed.Bytes())
}

// close ends the compressed stream, which DEFLATE has a mark for.
func (p *packer) close() error {
	if err := p.compressor.Close(); err != nil {
		return err
	}
	_, err := p.send()
	return err
}

// end tells the daemon, through each layer, that nothing more comes. ok is false
// if the socket cannot be closed on one side.
func (c *conn) end() (ok bool) {
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || c.pack != nil && c.pack.close() != nil || c.tls != nil && c.tls.CloseWrite() != nil {
		return false
	}
	return half.CloseWrite() == nil
}
