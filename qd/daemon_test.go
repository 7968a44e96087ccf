package qd_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func settings(t *testing.T) qd.Settings {
	s := qd.Defaults()
	s.TCPAddress, s.HTTPAddress, s.DataPath = "127.0.0.1:0", "127.0.0.1:0", t.TempDir()
	return s
}

// start runs a daemon; stop ends it and returns what Run returned.
func start(t *testing.T, s qd.Settings) (d *qd.Daemon, stop func() error) {
	t.Helper()
	d, err := qd.Listen(s, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	return d, serve(t, d)
}

// serve runs d; stop ends it and returns what Run returned.
func serve(t *testing.T, d *qd.Daemon) (stop func() error) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	return func() error {
		cancel()
		return <-ended
	}
}

func put(t *testing.T, d *qd.Daemon, body string) {
	t.Helper()
	r, err := http.Post(fmt.Sprintf("http://%s/put?topic=t", d.HTTPAddr()), "", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if answer, _ := io.ReadAll(r.Body); string(answer) != "OK" {
		t.Fatalf("put: %s %s", r.Status, answer)
	}
	http.DefaultClient.CloseIdleConnections()
}

// consumer is a connection that holds what it is given until it is told.
type consumer struct {
	t    *testing.T
	conn net.Conn
}

func subscribe(t *testing.T, d *qd.Daemon) *consumer {
	t.Helper()
	conn, err := net.Dial("tcp", d.TCPAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	return consume(t, conn)
}

// consume subscribes through conn.
func consume(t *testing.T, conn net.Conn) *consumer {
	t.Helper()
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	c := &consumer{t, conn}
	c.say(protocol.AppendRdy(protocol.AppendSub([]byte(protocol.MagicV2), "t", "c"), 100))
	if kind, data := c.frame(); kind != protocol.FrameResponse || string(data) != protocol.OK {
		t.Fatalf("SUB: %s %s", kind, data)
	}
	return c
}

func (c *consumer) say(b []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

func (c *consumer) frame() (protocol.FrameType, []byte) {
	c.t.Helper()
	kind, data, err := protocol.ReadFrame(c.conn, nil, 1<<20)
	if err != nil {
		c.t.Fatal(err)
	}
	return kind, data
}

func (c *consumer) message() protocol.Message {
	c.t.Helper()
	kind, data := c.frame()
	m, err := protocol.ParseMessage(data)
	if kind != protocol.FrameMessage || err != nil {
		c.t.Fatalf("%s %q is no message: %v", kind, data, err)
	}
	return m
}

// TestStopAndStart stops a daemon while a message is held and another waits.
// Both come after the next start, the held one first and counted as tried.
func TestStopAndStart(t *testing.T) {
	s := settings(t)
	s.StopTimeout = 10 * time.Millisecond
	d, stop := start(t, s)
	c := subscribe(t, d)
	put(t, d, "held")
	first := c.message()
	// The same connection publishes: what comes by another could come before RDY.
	c.say(protocol.AppendPub(protocol.AppendRdy(nil, 0), "t", []byte("waiting")))
	if _, answer := c.frame(); string(answer) != protocol.OK {
		t.Fatalf("PUB: %s", answer)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}

	d, stop = start(t, s)
	c = subscribe(t, d)
	again, next := c.message(), c.message()
	if again.ID != first.ID || string(again.Body) != "held" || again.Attempts != 2 {
		t.Errorf("first came %s %q, attempt %d", again.ID, again.Body, again.Attempts)
	}
	if string(next.Body) != "waiting" || next.Attempts != 1 {
		t.Errorf("then came %q, attempt %d", next.Body, next.Attempts)
	}
	c.say(protocol.AppendFin(protocol.AppendFin(nil, again.ID), next.ID))
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

// TestStopWaits stops a daemon while a consumer works on a message. Its FIN
// is still taken, so the message does not come again.
func TestStopWaits(t *testing.T) {
	s := settings(t)
	d, stop := start(t, s)
	c := subscribe(t, d)
	put(t, d, "held")
	m := c.message()
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	// The daemon is stopping once it refuses a publish.
	for refused := false; !refused; {
		c.say(protocol.AppendNop(nil))
		r, err := http.Post(fmt.Sprintf("http://%s/pub?topic=other", d.HTTPAddr()), "", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		refused = r.StatusCode == http.StatusServiceUnavailable
		_ = r.Body.Close()
	}
	http.DefaultClient.CloseIdleConnections()
	c.say(protocol.AppendFin(nil, m.ID))
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	d, stop = start(t, s)
	put(t, d, "next")
	if m := subscribe(t, d).message(); string(m.Body) != "next" {
		t.Errorf("%q came again after its FIN", m.Body)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

func TestRefusals(t *testing.T) {
	s := settings(t)
	d, stop := start(t, s)
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	log := slog.New(slog.DiscardHandler)

	taken := settings(t)
	taken.TCPAddress = d.TCPAddr().String()
	if _, err := qd.Listen(taken, log, nil); err == nil || !strings.Contains(err.Error(), "tcp-address") {
		t.Errorf("a taken port: %v", err)
	}
	if _, err := qd.Listen(s, log, nil); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("a data path in use: %v", err)
	}
	missing := settings(t)
	missing.DataPath += "/none"
	if _, err := qd.Listen(missing, log, nil); err == nil || !strings.Contains(err.Error(), missing.DataPath) {
		t.Errorf("a data path that does not exist: %v", err)
	}
}

// TestValidate wants every complaint at once, each naming its flag.
func TestValidate(t *testing.T) {
	s := qd.Defaults()
	if err := s.Validate(); err != nil {
		t.Fatalf("the defaults: %v", err)
	}
	fs := flag.NewFlagSet("qd", flag.ContinueOnError)
	fs.SetOutput(&bytes.Buffer{})
	s.Flags(fs)
	bad := []string{
		"tcp-address=4150", "http-address=localhost", "https-address=::1", "lookupd-tcp-address=nowhere", "broadcast-tcp-port=-1",
		"broadcast-http-port=65536", "http-client-connect-timeout=0s", "http-client-request-timeout=-1s", "mem-queue-size=-1", "mem-limit=0",
		"max-bytes-per-file=0", "sync-every=0", "sync-timeout=0s", "max-msg-size=0", "max-body-size=-5", "msg-timeout=1h",
		"max-req-timeout=-1s", "max-heartbeat-interval=1ms", "max-rdy-count=0", "max-channel-consumers=-1", "stop-timeout=-1s", "drain-timeout=-1s",
		"max-output-buffer-size=63", "min-output-buffer-timeout=1h", "output-buffer-timeout=-1s", "tls-cert=a", "tls-client-auth-policy=some",
		"max-deflate-level=10", "auth-http-request-method=put", "enable-experiment=flight", "statsd-address=nowhere",
		"statsd-interval=0s", "statsd-prefix=a:b", "statsd-udp-packet-size=65508", "e2e-processing-latency-percentile=1.5",
		"e2e-processing-latency-window-time=0s", "log-level=loud", "segment-bytes=1", "min-free-disk=-1",
		"lookupd-tls-cert=a", "lookupd-tls-root-ca-file=b", "lookupd-tls-insecure-skip-verify",
	}
	var args []string
	for _, a := range bad {
		args = append(args, "--"+a)
	}
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	err := s.Validate()
	if err == nil {
		t.Fatal("all of it is accepted")
	}
	for _, a := range bad {
		name, _, _ := strings.Cut(a, "=")
		if !strings.Contains("\n"+err.Error(), "\n"+name+" ") {
			t.Errorf("no complaint about %s in: %v", name, err)
		}
	}
	if n := strings.Count(err.Error(), "\n") + 1; n != len(bad) {
		t.Errorf("%d complaints, want %d:\n%v", n, len(bad), err)
	}
}

// TestNSQSpellings checks that flags can be said as NSQ's are.
func TestNSQSpellings(t *testing.T) {
	s := qd.Defaults()
	fs := flag.NewFlagSet("qd", flag.ContinueOnError)
	s.Flags(fs)
	if err := fs.Parse([]string{"--nsqlookupd-tcp-address=a:1", "-lookupd-tcp-address", "b:2,c:3"}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(s.LookupdTCPAddresses, " "); got != "a:1 b:2 c:3" {
		t.Errorf("lookupds %s", got)
	}
}

// TestStatsd has a daemon push its figures to a server on this machine.
func TestStatsd(t *testing.T) {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	s := settings(t)
	s.StatsdAddress, s.StatsdInterval = server.LocalAddr().String(), 20*time.Millisecond
	d, stop := start(t, s)
	put(t, d, "a")
	_, port, _ := net.SplitHostPort(d.HTTPAddr().String())
	want := fmt.Sprintf("nsq.127_0_0_1_%s.topic.t.message_count:", port)
	if err := server.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for b := make([]byte, 1000); ; {
		n, _, err := server.ReadFrom(b)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b[:n]), want+"1|c\n") {
			break
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestMetrics scrapes a daemon.
func TestMetrics(t *testing.T) {
	d, stop := start(t, settings(t))
	put(t, d, "a")
	r, err := http.Get(fmt.Sprintf("http://%s/metrics", d.HTTPAddr()))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	answer, _ := io.ReadAll(r.Body)
	for _, line := range []string{
		`millrace_topic_published_messages_total{topic="t"} 1`, `millrace_topic_log_records_total{topic="t"} 1`, `millrace_write_duration_seconds_count 1`,
	} {
		if !strings.Contains(string(answer), "\n"+line+"\n") {
			t.Errorf("%s: no %s in\n%s", r.Status, line, answer)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	if err := stop(); err != nil {
		t.Error(err)
	}
}
