package httpapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// Whoever asks is answered, however many connections say nothing: of those the
// oldest go. Those that have asked once are not among them.
func TestSilentConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		l := newPipes()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "OK") })
		go func() { ended <- Serve(ctx, l, h, slog.New(slog.NewTextHandler(&log, nil))) }()
		dial := func() net.Conn {
			near, far := net.Pipe()
			l.conns <- far
			return near
		}
		open := func(c net.Conn) bool {
			_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
			_, err := c.Read(make([]byte, 1))
			return errors.Is(err, os.ErrDeadlineExceeded)
		}
		known := dial()
		ask(t, known, "/").Body.Close()
		const more = 100
		var silent []net.Conn
		for i := range maxStrangers + more {
			silent = append(silent, dial())
			if i%2 == 1 { // a header on the drip says nothing either
				_, _ = io.WriteString(silent[i], "G")
			}
		}
		synctest.Wait()
		for i, c := range silent[:2*more] {
			if open(c) != (i >= more) {
				t.Errorf("connection %d is open: %v", i, open(c))
			}
		}
		c := dial()
		if answer := ask(t, c, "/"); answer.StatusCode != 200 {
			t.Errorf("who asks is answered %d", answer.StatusCode)
		}
		c.Close()
		ask(t, known, "/").Body.Close()
		known.Close()
		if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "too many connections ask nothing") {
			t.Errorf("the log has\n%s", got)
		}
		time.Sleep(headerTimeout)
		synctest.Wait()
		for i, c := range silent {
			if open(c) {
				t.Errorf("connection %d is open for ever", i)
			}
			c.Close()
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// When files run out, those who say nothing give theirs.
func TestFilesRunOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		full := &fullListener{pipes: l, most: 10}
		h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "OK") })
		go func() { ended <- Serve(ctx, full, h, slog.New(slog.DiscardHandler)) }()
		began := time.Now()
		for range 100 {
			for range 10 {
				near, far := net.Pipe()
				t.Cleanup(func() { near.Close() })
				l.conns <- far
			}
			near, far := net.Pipe()
			l.conns <- far
			if answer := ask(t, near, "/"); answer.StatusCode != 200 {
				t.Errorf("who asks is answered %d", answer.StatusCode)
			}
			near.Close()
		}
		if took := time.Since(began); took > headerTimeout {
			t.Errorf("it took %s, as if silent connections had to end by themselves", took)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// fullListener has files for most connections at a time.
type fullListener struct {
	*pipes
	most int64
	open atomic.Int64
}

func (l *fullListener) Accept() (net.Conn, error) {
	if l.open.Load() >= l.most {
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept", syscall.EMFILE)}
	}
	c, err := l.pipes.Accept()
	if err != nil {
		return nil, err
	}
	l.open.Add(1)
	return &counted{Conn: c, close: sync.OnceFunc(func() { l.open.Add(-1) })}, nil
}

type counted struct {
	net.Conn
	close func()
}

func (c *counted) Close() error {
	c.close()
	return c.Conn.Close()
}
