package millrace

import (
	"bufio"
	"bytes"
	"compress/flate"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang/snappy"

	"github.com/millrace-mq/millrace/protocol"
)

// layerings are the ways to speak to a daemon that offers everything.
var layerings = []struct {
	name        string
	tls         bool
	compression Compression
}{
	{"plain", false, None}, {"Snappy", false, Snappy}, {"Deflate", false, Deflate},
	{"TLS", true, None}, {"TLS and Snappy", true, Snappy}, {"TLS and Deflate", true, Deflate},
}

// TestLayers publishes and consumes through each combination of layers, messages
// larger than a record and a piece among them, with heartbeats meanwhile and an
// orderly end.
func TestLayers(t *testing.T) {
	for _, how := range layerings {
		t.Run(how.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *pipeNet) {
				b := newBroker(t)
				server, trusted := certify(t, "q")
				b.offers = offers{tls: server, snappy: true, deflate: true, secret: "open sesame"}
				b.start(n.listen("q:1"))
				t.Cleanup(b.stop)
				c := Connection{Compression: how.compression, DeflateLevel: 3, AuthSecret: "open sesame", HeartbeatInterval: time.Second}
				if how.tls {
					c.TLS = &tls.Config{RootCAs: trusted}
				}
				w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}, Connection: c})
				random := make([]byte, 300<<10)
				_, _ = rand.NewChaCha8([32]byte{}).Read(random)
				wanted := []string{string(random), strings.Repeat("x", 200<<10), "small", string(random[:65536])}
				for _, body := range wanted {
					noError(t, w.Publish(t.Context(), "t", []byte(body)))
				}
				noError(t, w.PublishMany(t.Context(), "t", bytesOf(numbered(1000)...)))
				wanted = append(wanted, numbered(1000)...)
				var rec recorder
				r := startReader(t, n, ReaderConfig{Addresses: []string{"q:1"}, Connection: c, Handler: &rec})
				pass(time.Minute)
				b.put("t", "late")
				pass(time.Second)
				want(t, "connections", r.Stats().Connections, 1)
				want(t, "dialled", n.dialled("q:1"), 2)
				began := time.Now()
				r.stop()
				noError(t, w.Close())
				want(t, "the end, which the daemon heard, took", time.Since(began), time.Duration(0))
				if got := rec.got(); !slices.Equal(got, append(wanted, "late")) {
					t.Errorf("%d messages came, of %d", len(got), len(wanted)+1)
				}
				want(t, "finished", len(b.finishedBodies()), len(wanted)+1)
			})
		})
	}
}

// TestTLSNames checks whom a client believes to be the daemon.
func TestTLSNames(t *testing.T) {
	for _, c := range []struct {
		certificate, name string
		want              string
	}{
		{"q", "", ""},
		{"other", "", "x509: certificate is valid for other, not q"},
		{"other", "other", ""},
		{"q", "other", "x509: certificate is valid for q, not other"},
	} {
		inBubble(t, func(t *testing.T, n *pipeNet) {
			b := newBroker(t)
			server, trusted := certify(t, c.certificate)
			b.offers.tls = server
			b.start(n.listen("q:1"))
			t.Cleanup(b.stop)
			config := Connection{Dial: n.dial, TLS: &tls.Config{RootCAs: trusted, ServerName: c.name}}
			noError(t, config.complete())
			d := config.dialer()
			got, err := d.connect(t.Context(), "q:1")
			if err == nil {
				got.fail(ErrClosed)
			}
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%+v: %v", c, err)
			}
			want(t, "a mismatch", errors.Is(err, ErrMismatch), c.want != "")
			want(t, "the configuration given", config.TLS.ServerName, c.name)
		})
	}
	for address, name := range map[string]string{"a.b:1": "a.b", "[::1]:1": "::1", "[fe80::1%eth0]:1": "fe80::1", "10.0.0.1:1": "10.0.0.1"} {
		want(t, address, serverName(address), name)
	}
}

// TestACertificateIsMissing has a daemon that wants to see ours. It says so after the
// handshake, or in it.
func TestACertificateIsMissing(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		inBubble(t, func(t *testing.T, n *pipeNet) {
			b := newBroker(t)
			server, trusted := certify(t, "q")
			server.ClientAuth = tls.RequireAnyClientCert
			b.offers.tls = server
			b.start(n.listen("q:1"))
			t.Cleanup(b.stop)
			config := Connection{Dial: n.dial, TLS: &tls.Config{RootCAs: trusted, MaxVersion: version}}
			noError(t, config.complete())
			d := config.dialer()
			_, err := d.connect(t.Context(), "q:1")
			if !errors.Is(err, ErrMismatch) || !strings.Contains(err.Error(), "remote error: tls: ") {
				t.Errorf("version %x: %v", version, err)
			}
		})
	}
}

// TestCompressionThatIsNotOffered is done without.
func TestCompressionThatIsNotOffered(t *testing.T) {
	for _, how := range []Compression{Snappy, Deflate} {
		inBubble(t, func(t *testing.T, n *pipeNet) {
			b := startBroker(t, n.listen("q:1"))
			w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}, Connection: Connection{Compression: how}})
			noError(t, w.Publish(t.Context(), "t", []byte("x")))
			want(t, "stored", b.bodies("t"), []string{"x"})
		})
	}
}

// cutAfter takes so many bytes, then fails.
type cutAfter struct {
	left  int
	taken bytes.Buffer
}

func (c *cutAfter) Write(p []byte) (int, error) {
	n := min(len(p), c.left)
	c.left -= n
	c.taken.Write(p[:n])
	if n < len(p) {
		return n, errors.New("cut")
	}
	return n, nil
}

// TestPackerCountsWhatMayHaveArrived cuts a compressed stream at every byte. What
// the other end can unpack must be counted: what is not counts as certainly not
// stored.
func TestPackerCountsWhatMayHaveArrived(t *testing.T) {
	plain := make([]byte, 3*pieceSize+100)
	for i := range plain {
		plain[i] = byte(rand.NewPCG(1, uint64(i/64)).Uint64()) // to be packed, but not to nothing
	}
	for _, how := range []Compression{Snappy, Deflate} {
		whole := &cutAfter{left: 1 << 30}
		length := packTo(t, how, whole, plain, len(plain))
		step := max(1, whole.taken.Len()/16)
		for cut := 0; cut < whole.taken.Len(); cut += step {
			w := &cutAfter{left: cut}
			counted := packTo(t, how, w, plain, -1)
			arrived := len(unpack(how, w.taken.Bytes()))
			if counted < arrived || counted > arrived+pieceSize || counted%pieceSize != 0 && counted != length {
				t.Errorf("compression %d cut after %d bytes: %d counted, %d arrived", how, cut, counted, arrived)
			}
			if cut == 0 && counted != 0 {
				t.Errorf("%d counted of nothing", counted)
			}
		}
	}
}

func packTo(t *testing.T, how Compression, to io.Writer, plain []byte, wanted int) int {
	t.Helper()
	c := &conn{stack: stack{from: strings.NewReader(""), to: to}}
	noError(t, c.compress(how, 6))
	n, err := c.to.Write(plain)
	if wanted >= 0 && (err != nil || n != wanted) {
		t.Fatal(n, err)
	}
	return n
}

func unpack(how Compression, packed []byte) []byte {
	var from io.Reader = snappy.NewReader(bytes.NewReader(packed))
	if how == Deflate {
		from = flate.NewReader(bytes.NewReader(packed))
	}
	plain, _ := io.ReadAll(from)
	return plain
}

// TestOneWriteForABatch counts what reaches the socket: a batch of commands
// within a piece leaves at once, whatever is between.
func TestOneWriteForABatch(t *testing.T) {
	for _, how := range layerings[1:3] {
		counted := &writes{}
		c := &conn{stack: stack{from: strings.NewReader(""), to: counted}}
		noError(t, c.compress(how.compression, 6))
		var batch []byte
		for i := range 200 {
			batch = protocol.AppendPub(batch, "t", []byte(fmt.Sprintf("message %d", i*i)))
		}
		for range 3 {
			_, err := c.to.Write(batch)
			noError(t, err)
		}
		want(t, how.name, counted.n, 3)
	}
}

type writes struct{ n int }

func (w *writes) Write(p []byte) (int, error) {
	w.n++
	return len(p), nil
}

// TestReadingAllocatesNothingForAMessage measures a connection being read and cut.
func TestReadingAllocatesNothingForAMessage(t *testing.T) {
	const messages = 1000
	var frames []byte
	for i := range messages {
		frames = protocol.AppendMessage(frames, 1, 1, uint64(i), []byte(strings.Repeat("x", 20)))
	}
	for _, how := range layerings[:3] {
		packed := &cutAfter{left: 1 << 30}
		if how.compression == None {
			packed.taken.Write(frames)
		} else {
			packTo(t, how.compression, packed, frames, len(frames))
		}
		source := packed.taken.Bytes()
		got := testing.AllocsPerRun(3, func() {
			c := &conn{stack: stack{from: bytes.NewReader(source), to: io.Discard}}
			if how.compression != None {
				noError(t, c.compress(how.compression, 6))
			}
			want(t, "cut", cut(c, messages), messages)
		})
		if got > messages/10 {
			t.Errorf("%s: %v allocations for %d messages", how.name, got, messages)
		}
	}
}

func cut(from io.Reader, messages int) (n int) {
	var in inbox
	for n < messages {
		k, err := from.Read(in.space())
		in.filled(k)
		for _, _, ok, _ := in.next(); ok; _, _, ok, _ = in.next() {
			n++
		}
		if err != nil {
			return n
		}
	}
	return n
}

// TestAConnectionThatBreaksThroughLayers cuts a daemon off: what had not been
// answered is uncertain, or certain not to be stored, and never called stored.
func TestAConnectionThatBreaksThroughLayers(t *testing.T) {
	for _, how := range layerings {
		t.Run(how.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *pipeNet) {
				b := newBroker(t)
				server, trusted := certify(t, "q")
				b.offers = offers{tls: server, snappy: true, deflate: true}
				b.intercept = func(s *session, l protocol.Line, body []byte) bool {
					if l.Verb == protocol.Pub && string(body) == "cut" {
						_ = s.nc.Close()
						return true
					}
					return false
				}
				b.start(n.listen("q:1"))
				t.Cleanup(b.stop)
				c := Connection{Compression: how.compression}
				if how.tls {
					c.TLS = &tls.Config{RootCAs: trusted}
				}
				w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}, Connection: c})
				noError(t, w.Publish(t.Context(), "t", []byte("x")))
				err := w.Publish(context.Background(), "t", []byte("cut"))
				_, uncertain := errors.AsType[*UncertainError](err)
				want(t, "uncertain", uncertain, true)
				noError(t, w.Publish(t.Context(), "t", []byte("y")))
				want(t, "stored", b.bodies("t"), []string{"x", "y"})
			})
		})
	}
}

// TestHeartbeatsWithoutEnd of a daemon that reads nothing take no memory.
func TestHeartbeatsWithoutEnd(t *testing.T) {
	var d dialer
	c := d.newConn(nil, "q:1")
	for range 1000 {
		c.nop()
	}
	want(t, "waiting", string(c.out), "NOP\n")
	want(t, "appended", c.appended, int64(len("NOP\n")))
	select {
	case <-c.kick:
	default:
		t.Error("nobody is told to write it")
	}
}

// TestTheEndOfADeflatedStream has DEFLATE's own mark before the socket's: a daemon can tell
// it from a connection that broke.
func TestTheEndOfADeflatedStream(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		told := make(chan error, 1)
		c, err := greet(t, n, Connection{Compression: Deflate}, func(peer net.Conn) {
			r := bufio.NewReader(peer)
			_, _ = io.ReadFull(r, make([]byte, len(protocol.MagicV2+"IDENTIFY\n")))
			var size [4]byte
			_, _ = io.ReadFull(r, size[:])
			_, _ = r.Discard(int(binary.BigEndian.Uint32(size[:])))
			_, _ = io.WriteString(peer, response(`{"deflate":true}`))
			w, _ := flate.NewWriter(peer, 1)
			_, _ = io.WriteString(w, response("OK"))
			_ = w.Flush()
			said, err := io.ReadAll(flate.NewReader(r))
			if string(said) != "NOP\n" {
				err = fmt.Errorf("%q was said", said)
			}
			told <- err
		})
		noError(t, err)
		noError(t, c.say(nopCommand))
		want(t, "the end is said", c.end(), true)
		noError(t, <-told)
	})
}
