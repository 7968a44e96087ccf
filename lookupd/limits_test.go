package lookupd

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/lookupd/registry"
	"github.com/millrace-mq/millrace/protocol"
)

// running is a lookupd on real sockets.
func running(t *testing.T, change func(s *Settings)) *Daemon {
	t.Helper()
	s := DefaultSettings()
	s.TCPAddress, s.HTTPAddress = "127.0.0.1:0", "127.0.0.1:0"
	change(&s)
	d, err := Listen(s, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return d
}

// told is a daemon's connection.
type told struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func (d *Daemon) dial(t *testing.T) *told {
	t.Helper()
	conn, err := net.Dial("tcp", d.TCPAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	return &told{t, conn, bufio.NewReader(conn)}
}

func (p *told) say(text string) { _, _ = io.WriteString(p.conn, text) }

func (p *told) reply() string {
	p.t.Helper()
	var size [4]byte
	if _, err := io.ReadFull(p.in, size[:]); err != nil {
		return err.Error()
	}
	text := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(p.in, text); err != nil {
		return err.Error()
	}
	return string(text)
}

// join identifies a daemon as nsqd does.
func (p *told) join(port int) string {
	p.say(protocol.MagicV1 + string(protocol.AppendIdentify(nil,
		fmt.Appendf(nil, `{"broadcast_address":"127.0.0.1","tcp_port":%d,"http_port":%d,"version":"1.3.0"}`, port, port+1))))
	return p.reply()
}

// Of more topics or channels than a daemon may have each is refused, and nothing else: it
// stays connected, and what it has it may say again.
func TestRegistrationsOfOne(t *testing.T) {
	d := running(t, func(s *Settings) { s.ProducerMaxTopics, s.ProducerMaxChannels = 2, 1 })
	p := d.dial(t)
	p.join(1)
	for _, c := range []struct{ say, want string }{
		{"REGISTER a x", "OK"},
		{"REGISTER b", "OK"},
		{"REGISTER a x", "OK"},
		{"REGISTER c", "E_TOO_MANY REGISTER topic c: the daemon has registered 2 topics (producer-max-topics)"},
		{"REGISTER c x", "E_TOO_MANY REGISTER topic c: the daemon has registered 2 topics (producer-max-topics)"},
		{"REGISTER a y", "E_TOO_MANY REGISTER topic a channel y: the daemon has registered 1 channels of it (producer-max-channels)"},
		{"REGISTER b y", "OK"},
		{"UNREGISTER a", "OK"},
		{"REGISTER c x", "OK"},
		{"PING", "OK"},
	} {
		p.say(c.say + "\n")
		if got := p.reply(); got != c.want {
			t.Errorf("%s: %q, want %q", c.say, got, c.want)
		}
	}
	other := d.dial(t)
	other.join(3)
	other.say("REGISTER a z\n")
	if got := other.reply(); got != "OK" {
		t.Errorf("what one has counts for another: %s", got)
	}
	if status, text := visit(t, d, "GET", "/lookup?topic=c", ""); status != 200 || !strings.Contains(text, `"tcp_port":1,`) {
		t.Errorf("%d %s", status, text)
	}
	if _, text := visit(t, d, "GET", "/metrics", ""); !strings.Contains(text, "millrace_lookupd_refused_registrations_total 3\n") {
		t.Error("/metrics does not say that three were refused")
	}
	if status, text := visit(t, d, "PUT", "/config/producer_max_topics", "0"); status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	p.say("REGISTER d\n")
	if got := p.reply(); got != "OK" {
		t.Errorf("when there is no limit any more: %s", got)
	}
}

// What a daemon was refused for want of room it is asked for when there may be some: it does
// not know that by itself. Without news it is not asked again and again.
func TestRefusedRegistrationsAreAskedForAgain(t *testing.T) {
	d := running(t, func(s *Settings) { s.ProducerMaxTopics = 1 })
	p := d.dial(t)
	p.say(protocol.MagicV1 + string(protocol.AppendIdentify(nil,
		[]byte(`{"broadcast_address":"127.0.0.1","tcp_port":1,"http_port":2,"version":"1.3.0","extended":true,"instance":"i"}`))))
	p.reply()
	say := func(command, want string) {
		t.Helper()
		p.say(command + "\n")
		if got := p.reply(); got != want {
			t.Errorf("%s: %q, want %q", command, got, want)
		}
	}
	const full = "E_TOO_MANY REGISTER topic b: the daemon has registered 1 topics (producer-max-topics)"
	say("REGISTER a", "OK")
	say("UNREGISTER a", "OK") // before anything was refused
	say("REGISTER a", "OK")
	say("PING", "OK")
	say("REGISTER b", full)
	say("PING", "OK")
	say("PING", "OK")
	say("UNREGISTER a", "OK")
	say("PING", "RESYNC")
	say("REGISTER b", "OK")
	say("PING", "OK")
	say("REGISTER a", strings.Replace(full, "topic b", "topic a", 1))
	say("PING", "OK")
	if status, text := visit(t, d, "PUT", "/config/producer_max_topics", "2"); status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	say("PING", "RESYNC")
	say("REGISTER a", "OK")
	say("PING", "OK")
}

func visit(t *testing.T, d *Daemon, method, path, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+d.HTTPAddr().String()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, _ := io.ReadAll(r.Body)
	return r.StatusCode, string(text)
}

// A daemon gets in however many say nothing; when all are daemons, one too many is told so.
func TestTooManyConnections(t *testing.T) {
	d := running(t, func(s *Settings) { s.MaxConnections = 3 })
	for range 10 {
		d.dial(t)
	}
	var in []*told
	for i := range 3 {
		p := d.dial(t)
		if got := p.join(2*i + 1); !strings.HasPrefix(got, "{") {
			t.Fatalf("daemon %d is told %q", i, got)
		}
		in = append(in, p)
	}
	const full = "E_INVALID TOO_MANY_CONNECTIONS: there are 3 already (max-connections)"
	if got := d.dial(t).join(9); got != full {
		t.Errorf("one too many is told %q", got)
	}
	_ = in[0].conn.Close()
	deadline := time.Now().Add(30 * time.Second)
	for got := ""; !strings.HasPrefix(got, "{"); {
		if got = d.dial(t).join(9); time.Now().After(deadline) {
			t.Fatalf("when there is room it is told %q", got)
		}
	}
	if _, text := visit(t, d, "GET", "/metrics", ""); strings.Contains(text, `millrace_lookupd_refused_connections_total{cause="full"} 0`) {
		t.Error("no refusal is counted")
	}
}

func TestTooManyFromOneAddress(t *testing.T) {
	d := running(t, func(s *Settings) { s.MaxConnectionsPerAddress = 1 })
	d.dial(t).join(1)
	const crowded = "E_INVALID TOO_MANY_CONNECTIONS: there are 1 from 127.0.0.1 already (max-connections-per-address)"
	if got := d.dial(t).join(3); got != crowded {
		t.Errorf("a second is told %q", got)
	}
	if got := d.peers.Counts().Refused["address"]; got != 1 {
		t.Errorf("%d refusals are counted", got)
	}
}

// A higher generation of a topic takes its channels away, so it may have as many anew.
func TestOverByGeneration(t *testing.T) {
	r := registry.New(registry.Config{})
	p := r.Join(protocol.PeerInfo{}, "", time.Time{})
	most := registry.Most{Channels: 1}
	for _, c := range []struct {
		reg  registry.Registration
		over registry.Excess
	}{
		{registry.Registration{Topic: "t", Channel: "a", Generation: 1}, registry.None},
		{registry.Registration{Topic: "t", Channel: "b", Generation: 1}, registry.Channels},
		{registry.Registration{Topic: "t", Channel: "b", Generation: 2}, registry.None},
		{registry.Registration{Topic: "t", Channel: "b", Generation: 2, Paused: true}, registry.None},
		{registry.Registration{Topic: "t", Channel: "a", Generation: 2}, registry.Channels},
	} {
		if got := r.Over(p, c.reg, most); got != c.over {
			t.Errorf("%+v is over: %v", c.reg, got)
		} else if got == registry.None {
			r.Register(p, c.reg)
		}
	}
}
