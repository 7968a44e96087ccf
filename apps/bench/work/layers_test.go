package work

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/flate"

	"github.com/millrace-mq/millrace/apps/bench/broker"
	"github.com/millrace-mq/millrace/protocol"
)

// peer is a broker's end of a connection with its layers. Unlike a socket, a
// compressor takes no writes from two goroutines at once.
type peer struct {
	net.Conn
	r io.Reader

	mu   sync.Mutex
	w    io.Writer
	pack interface {
		io.Writer
		Flush() error
	}
}

func (p *peer) Read(b []byte) (int, error) { return p.r.Read(b) }

func (p *peer) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pack == nil {
		return p.w.Write(b)
	}
	_, _ = p.pack.Write(b)
	return len(b), p.pack.Flush()
}

// upgrade gives what ask asks for, each layer with its OK.
func (p *peer) upgrade(secure *tls.Config, ask protocol.IdentifyRequest) {
	ok := protocol.AppendFrame(nil, protocol.FrameResponse, protocol.OK)
	if ask.TLSv1 {
		t := tls.Server(p.Conn, secure)
		p.r, p.w = t, t
		_, _ = p.Write(ok)
	}
	switch {
	case ask.Snappy:
		p.pack, p.r = snappy.NewBufferedWriter(p.w), snappy.NewReader(p.r)
	case ask.Deflate:
		p.pack, _ = flate.NewWriter(p.w, ask.DeflateLevel)
		p.r = flate.NewReader(p.r)
	default:
		return
	}
	_, _ = p.Write(ok)
}

// identify answers IDENTIFY, and returns what is to be read from then on.
func (f *faulty) identify(p *peer, r *bufio.Reader, body []byte) *bufio.Reader {
	ask, _ := protocol.ParseIdentify(body)
	answer := protocol.IdentifyResponse{MaxRdyCount: 100, Version: "1"}
	if f.secure != nil {
		answer.TLSv1, answer.Snappy, answer.Deflate = ask.TLSv1, ask.Snappy, ask.Deflate
		answer.DeflateLevel = min(ask.DeflateLevel, 6)
	}
	text, _ := json.Marshal(answer)
	_, _ = p.Write(protocol.AppendFrame(nil, protocol.FrameResponse, string(text)))
	if f.secure == nil {
		return r
	}
	p.upgrade(f.secure, ask)
	return bufio.NewReader(p)
}

// layered is a faulty broker that has all layers, and the file that vouches
// for it.
func layered(t *testing.T) (f *faulty, roots string) {
	t.Helper()
	s := httptest.NewTLSServer(nil) // for its certificate
	defer s.Close()
	roots = filepath.Join(t.TempDir(), "roots.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(roots, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return &faulty{secure: &tls.Config{Certificates: s.TLS.Certificates}}, roots
}

// Each stack of layers carries every message once, and is named.
func TestEveryMessageOnceThroughLayers(t *testing.T) {
	f, roots := layered(t)
	target := f.start(t)
	for name, change := range map[string]func(*Settings){
		"":              func(*Settings) {},
		"tls":           func(s *Settings) { s.TLS = true },
		"snappy":        func(s *Settings) { s.Snappy = true },
		"deflate 1":     func(s *Settings) { s.Deflate = 1 },
		"tls+snappy":    func(s *Settings) { s.TLS, s.TLSCA, s.Snappy = true, roots, true },
		"tls+deflate 6": func(s *Settings) { s.TLS, s.TLSCA, s.Deflate = true, roots, 6 },
	} {
		works := []string{"publish", "drain", "both", "single"}
		if name == "tls+snappy" {
			works = append(works, "latency") // which takes longer
		}
		for _, work := range works {
			s := small
			change(&s)
			results, err := find(t, work).Run(t.Context(), target, s)
			if err != nil {
				t.Fatalf("%s over %q: %v", work, name, err)
			}
			if r := results[0]; r.Layers != name || r.Messages == 0 {
				t.Errorf("%s over %q: %+v", work, name, r)
			}
		}
	}
}

func TestLayersRefused(t *testing.T) {
	f, roots := layered(t)
	target := f.start(t)
	bare := new(faulty).start(t)
	nobody := filepath.Join(t.TempDir(), "nobody.pem")
	if err := os.WriteFile(nobody, []byte("nobody"), 0o600); err != nil {
		t.Fatal(err)
	}
	elsewhere := target
	elsewhere.TCP = strings.Replace(target.TCP, "127.0.0.1", "localhost", 1)
	for _, c := range []struct {
		target broker.Target
		change func(*Settings)
		want   string
	}{
		{bare, func(s *Settings) { s.TLS = true }, "the broker has no TLS"},
		{bare, func(s *Settings) { s.Snappy = true }, "the broker has no Snappy"},
		{bare, func(s *Settings) { s.Deflate = 1 }, "the broker has no Deflate"},
		{target, func(s *Settings) { s.Deflate = 9 }, "the broker compresses at level 6 instead of 9"},
		{target, func(s *Settings) { s.TLS, s.TLSCA = true, roots+"x" }, "--tls-ca: open "},
		{target, func(s *Settings) { s.TLS, s.TLSCA = true, nobody }, "there is no certificate in it"},
		{elsewhere, func(s *Settings) { s.TLS, s.TLSCA = true, roots }, "TLS handshake: tls: failed to verify certificate"},
		{broker.Target{Null: true}, func(s *Settings) { s.Snappy = true }, "the null broker has neither"},
	} {
		s := small
		c.change(&s)
		_, err := find(t, "publish").Run(t.Context(), c.target, s)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
}

// What a broker does wrong is told in its own words through layers, too.
func TestFaultsThroughLayers(t *testing.T) {
	for command, work := range map[string]string{"MPUB": "publish", "FIN": "drain", "CLS": "both"} {
		f, _ := layered(t)
		f.refuse = command
		s := small
		s.Seconds, s.Consumers, s.TLS, s.Deflate = 10, 1, true, 3
		_, err := find(t, work).Run(t.Context(), f.start(t), s)
		if want := "the broker answered E_INVALID not " + command; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// Layering measures each work through each stack, beside the plain one.
func TestLayering(t *testing.T) {
	f, roots := layered(t)
	var progress strings.Builder
	l := Layering{Subject: Subject{TCP: f.start(t).TCP}, Settings: small, Rounds: 2, Progress: &progress}
	l.Settings.TLSCA = roots
	l.Subject.HTTP = ""
	rows, err := l.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for i, r := range rows {
		names = append(names, r.Result.Name())
		if plain := rows[i-i%len(stacks)].Result.Rate; r.Result.Layers != "" && r.OfPlain != r.Result.Rate/plain {
			t.Errorf("%s: %v of plain", names[i], r.OfPlain)
		}
	}
	want := "publish, publish over tls, publish over snappy, publish over deflate 1, publish over deflate 6, publish over tls+snappy, publish over tls+deflate 6, "
	want += strings.ReplaceAll(want, "publish", "drain") + strings.ReplaceAll(want, "publish", "both")
	if got := strings.Join(names, ", ") + ", "; got != want {
		t.Errorf("rows %s", got)
	}
	if n := strings.Count(progress.String(), "\n"); n != 2*len(rows) || !strings.Contains(progress.String(), "round 2 of 2: both over tls+deflate 6 on ") {
		t.Errorf("progress of %d lines: %s", n, progress.String())
	}
	l.Rounds = 0
	if _, err := l.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "--rounds 0") {
		t.Errorf("error %v", err)
	}
}
