package millrace

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// greet connects to a peer that is played by play.
func greet(t *testing.T, n *pipeNet, c Connection, play func(net.Conn)) (*conn, error) {
	t.Helper()
	l := n.listen("q:1")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		peer, err := l.Accept()
		if err != nil {
			return
		}
		play(peer)
		_, _ = io.Copy(io.Discard, peer)
		_ = peer.Close()
	}()
	t.Cleanup(func() { _ = l.Close(); <-ended })
	c.Dial = n.dial
	noError(t, c.complete())
	d := c.dialer()
	got, err := d.connect(t.Context(), "q:1")
	if err == nil {
		t.Cleanup(func() { got.fail(ErrClosed) })
	}
	return got, err
}

// saying plays a peer that says something and then waits.
func saying(words ...string) func(net.Conn) {
	return func(c net.Conn) { _, _ = c.Write([]byte(strings.Join(words, ""))) }
}

func response(data string) string {
	return string(protocol.AppendFrame(nil, protocol.FrameResponse, data))
}

func errorFrame(data string) string {
	return string(protocol.AppendFrame(nil, protocol.FrameError, data))
}

// TestGreetingOfStrangers has the handshake meet what is not a daemon, or not a
// sane one. Each ends in one line that says what is wrong, within DialTimeout.
func TestGreetingOfStrangers(t *testing.T) {
	const notQD = "what answers is not a queue daemon's TCP side"
	closing := func(words string) func(net.Conn) {
		return func(c net.Conn) {
			_, _ = io.ReadFull(c, make([]byte, len(protocol.MagicV2)))
			_, _ = c.Write([]byte(words))
			_ = c.Close()
		}
	}
	secured := Connection{TLS: &tls.Config{InsecureSkipVerify: true}}
	for name, c := range map[string]struct {
		play       func(net.Conn)
		connection Connection
		want       string // after "greeting q:1: "
	}{
		"an HTTP server": {saying("HTTP/1.1 400 Bad Request\r\n\r\n"), Connection{},
			"IDENTIFY: " + notQD + " but an HTTP server: give the daemon's TCP address (port 4150 by default)"},
		"a lookupd": {saying("\x00\x00\x00\x0eE_BAD_PROTOCOL"), Connection{},
			"IDENTIFY: " + notQD + ": its answer is a frame type 1163870785"},
		"a TLS server": {saying("\x15\x03\x01\x00\x02\x02\x46"), Connection{},
			"IDENTIFY: " + notQD + ": it speaks TLS from the first byte, and a daemon's TLS begins after IDENTIFY"},
		"garbage": {saying("\xde\xad\xbe\xef\xde\xad\xbe\xef\xde\xad\xbe\xef"), Connection{},
			"IDENTIFY: " + notQD + ": an answer of 3735928559 bytes, not 4 to 65536"},
		"a frame of 2 GB": {saying("\x7f\xff\xff\xff\x00\x00\x00\x00{"), Connection{},
			"IDENTIFY: " + notQD + ": an answer of 2147483647 bytes, not 4 to 65536"},
		"a frame of nothing": {saying("\x00\x00\x00\x00"), Connection{},
			"IDENTIFY: " + notQD + ": an answer of 0 bytes, not 4 to 65536"},
		"a message before SUB": {saying(string(protocol.AppendMessage(nil, 1, 1, 1, []byte("x")))), Connection{},
			"IDENTIFY: " + notQD + ": its answer is a message"},
		"no JSON": {saying(response("hello")), Connection{},
			`IDENTIFY: not a daemon's answer, "hello": invalid character 'h' looking for beginning of value`},
		"half of JSON": {saying(response(`{"max_rdy_count":`)), Connection{},
			`IDENTIFY: not a daemon's answer, "{\"max_rdy_count\":": unexpected end of JSON input`},
		"JSON of another kind": {saying(response(`[1,2]`)), Connection{},
			`IDENTIFY: not a daemon's answer, "[1,2]": json: cannot unmarshal array into Go value of type protocol.IdentifyResponse`},
		"JSON with other types": {saying(response(`{"max_rdy_count":"many"}`)), Connection{},
			`IDENTIFY: not a daemon's answer, "{\"max_rdy_count\":\"many\"}": json: cannot unmarshal string into Go struct field IdentifyResponse.max_rdy_count of type int64`},
		"an end": {closing(""), Connection{},
			"IDENTIFY: the connection was closed without an answer: EOF"},
		"an end within a frame": {closing(response("OK")[:9]), Connection{},
			"IDENTIFY: the connection was closed in the middle of the answer: unexpected EOF"},
		"silence": {saying(), Connection{},
			"IDENTIFY: no answer within 5s: context deadline exceeded"},
		"heartbeats for ever": {func(c net.Conn) {
			for err := error(nil); err == nil; time.Sleep(time.Second) {
				_, err = c.Write([]byte(response(protocol.Heartbeat)))
			}
		}, Connection{}, "IDENTIFY: no answer within 5s: context deadline exceeded"},
		"a refusal": {saying(errorFrame("E_BAD_BODY IDENTIFY heartbeat interval (1000) is invalid")), Connection{},
			"IDENTIFY: E_BAD_BODY IDENTIFY heartbeat interval (1000) is invalid"},

		"no TLS": {saying(response("{}")), secured,
			"the daemon does not offer TLS, which is asked for: give it a certificate and key, or speak to it without"},
		"no TLS, of old": {saying(response("OK")), secured,
			"the daemon does not offer TLS, which is asked for: give it a certificate and key, or speak to it without"},
		"TLS that is none": {saying(response(`{"tls_v1":true}`), response("OK")), secured,
			"the TLS handshake: tls: first record does not look like a TLS handshake"},
		"TLS that is never begun": {saying(response(`{"tls_v1":true}`)), secured,
			"the TLS handshake: no answer within 5s: context deadline exceeded"},
		"TLS that ends": {func(c net.Conn) {
			_, _ = c.Write([]byte(response(`{"tls_v1":true}`)))
			_ = c.(*pipeConn).CloseWrite()
		}, secured, "the TLS handshake: the daemon closed the connection: EOF"},
		"Snappy that is none": {saying(response(`{"snappy":true}`), response("OK")), Connection{Compression: Snappy},
			"compression: snappy: corrupt input"},
		"Deflate that is none": {saying(response(`{"deflate":true}`), "\xff\xff\xff\xff\xff"), Connection{Compression: Deflate},
			"compression: flate: corrupt input before offset 1"},
		"AUTH without a secret": {saying(response(`{"auth_required":true}`)), Connection{},
			"the daemon requires AUTH: an AuthSecret must be set"},
		"AUTH refused": {saying(response(`{"auth_required":true}`), errorFrame("E_AUTH_FAILED AUTH failed")), Connection{AuthSecret: "s"},
			"AUTH: E_AUTH_FAILED AUTH failed"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *pipeNet) {
				began := time.Now()
				_, err := greet(t, n, c.connection, c.play)
				want(t, "error", fmt.Sprint(err), "greeting q:1: "+c.want)
				mismatched := strings.Contains(c.want, notQD) || strings.HasPrefix(c.want, "the daemon ")
				want(t, "a mismatch", errors.Is(err, ErrMismatch), mismatched)
				if took := time.Since(began); took > 5*time.Second {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

func TestGreetingErrorsAreTyped(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		_, err := greet(t, n, Connection{AuthSecret: "s"}, saying(response(`{"auth_required":true}`), errorFrame("E_UNAUTHORIZED AUTH no authorizations found")))
		e, ok := errors.AsType[*protocol.Error](err)
		want(t, "typed", ok, true)
		want(t, "code", e.Code, protocol.EUnauthorized)
	})
	inBubble(t, func(t *testing.T, n *pipeNet) {
		_, err := greet(t, n, Connection{}, saying())
		want(t, "a deadline", errors.Is(err, context.DeadlineExceeded), true)
	})
}

// TestGreetingOfOddDaemons has answers that are to be made the best of.
func TestGreetingOfOddDaemons(t *testing.T) {
	for answer, wanted := range map[string]protocol.IdentifyResponse{
		"OK": {MaxRdyCount: 2500, MsgTimeout: 60000},
		"{}": {MaxRdyCount: 2500, MsgTimeout: 60000},
		`{"max_rdy_count":-1,"msg_timeout":-1,"new":{}}`:                                 {MaxRdyCount: 2500, MsgTimeout: 60000},
		`{"max_rdy_count":9223372036854775807,"msg_timeout":9223372036854775807}`:        {MaxRdyCount: 1<<31 - 1, MsgTimeout: 9223372036854},
		`{"max_rdy_count":1,"msg_timeout":2,"tls_v1":true,"snappy":true,"deflate":true}`: {MaxRdyCount: 1, MsgTimeout: 2, TLSv1: true, Snappy: true, Deflate: true},
	} {
		inBubble(t, func(t *testing.T, n *pipeNet) {
			c, err := greet(t, n, Connection{}, saying(response(protocol.Heartbeat), response(answer)))
			noError(t, err)
			want(t, answer, c.info, wanted)
			want(t, "extension", c.extension, (*protocol.ExtensionResponse)(nil))
			want(t, "layers", c.tls != nil || c.pack != nil, false)
		})
	}
}

// TestASecretIsNotSaidUnasked looks at all that a daemon hears that wants no AUTH.
func TestASecretIsNotSaidUnasked(t *testing.T) {
	for name, answer := range map[string]string{"no AUTH": "{}", "TLS is missing": `{"auth_required":true}`} {
		inBubble(t, func(t *testing.T, n *pipeNet) {
			c := Connection{AuthSecret: "open sesame"}
			if name == "TLS is missing" {
				c.TLS = &tls.Config{InsecureSkipVerify: true}
			}
			heard := make(chan string, 1)
			got, err := greet(t, n, c, func(nc net.Conn) {
				_, _ = nc.Write([]byte(response(answer)))
				all, _ := io.ReadAll(nc)
				heard <- string(all)
			})
			if err == nil {
				got.fail(ErrClosed)
			}
			if all := <-heard; strings.Contains(all, "sesame") || !strings.HasPrefix(all, "  V2IDENTIFY\n") {
				t.Errorf("%s: the daemon heard %q", name, all)
			}
		})
	}
}

// TestGreetingOfAnHTTPServer is with a real one, which Go has.
func TestGreetingOfAnHTTPServer(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		s := &http.Server{Handler: http.NotFoundHandler()}
		done := make(chan struct{})
		l := n.listen("h:1")
		go func() { defer close(done); _ = s.Serve(l) }()
		c := Connection{Dial: n.dial}
		noError(t, c.complete())
		d := c.dialer()
		_, err := d.connect(t.Context(), "h:1")
		if err == nil || !strings.Contains(err.Error(), "but an HTTP server") {
			t.Error(err)
		}
		_ = s.Close()
		<-done
	})
}

// TestAHugeFrameTakesNoMemory has a daemon claim 2 GB, and just less than the
// limit, once it is consumed from.
func TestAHugeFrameTakesNoMemory(t *testing.T) {
	for _, head := range []string{"\x7f\xff\xff\xff\x00\x00\x00\x02", "\xff\xff\xff\xff\x00\x00\x00\x02", "\x03\xff\xff\xff\x00\x00\x00\x02"} {
		var in inbox
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		in.filled(copy(in.space(), head))
		in.count()
		_, _, ok, err := in.next()
		want(t, "refused", err != nil, head[0] != 3)
		want(t, "cut", ok, false)
		in.filled(len(in.space()))
		in.space()
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > 256<<10 {
			t.Errorf("%q took %d bytes", head, took)
		}
	}
}

// TestExtension is asked for always, and there where it is answered.
func TestExtension(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := newBroker(t)
		b.offers.extension = &protocol.ExtensionResponse{MaxMsgSize: 1 << 20, Seek: true}
		b.start(n.listen("q:2"))
		t.Cleanup(b.stop)
		c := Connection{Dial: n.dial}
		noError(t, c.complete())
		d := c.dialer()
		got, err := d.connect(t.Context(), "q:2")
		noError(t, err)
		want(t, "extension", *got.extension, *b.offers.extension)
		got.fail(ErrClosed)
	})
}

// TestManyDaemonsAreDialledByAndBy: of thousands that do not answer, few have a socket at
// a time, and who waits for a turn can be told to stop.
func TestManyDaemonsAreDialledByAndBy(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *pipeNet) {
		var dialling, gaveUp atomic.Int32
		answer := make(chan struct{})
		c := Connection{Dial: func(context.Context, string, string) (net.Conn, error) {
			dialling.Add(1)
			<-answer
			return nil, io.ErrUnexpectedEOF
		}}
		noError(t, c.complete())
		d := c.dialer()
		ctx, stop := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for i := range 4 * maxDialing {
			all.Go(func() {
				if _, err := d.connect(ctx, fmt.Sprint("q:", i)); errors.Is(err, context.Canceled) {
					gaveUp.Add(1)
				}
			})
		}
		synctest.Wait()
		want(t, "at a time", int(dialling.Load()), maxDialing)
		stop()
		synctest.Wait()
		want(t, "told to stop", int(gaveUp.Load()), 3*maxDialing)
		close(answer)
		all.Wait()
	})
}
