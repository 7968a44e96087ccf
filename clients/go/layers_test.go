package millrace

import (
	"bufio"
	"compress/flate"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/golang/snappy"

	"github.com/millrace-mq/millrace/protocol"
)

// offers is what a test's broker gives those who ask for it.
type offers struct {
	tls             *tls.Config
	snappy, deflate bool
	secret          string // if set, AUTH is required
	extension       *protocol.ExtensionResponse
	maxMsgTimeout   time.Duration // 0: it does not tell
}

func (o offers) to(r protocol.IdentifyRequest) (info protocol.IdentifyResponse) {
	info.TLSv1 = r.TLSv1 && o.tls != nil
	info.Snappy, info.Deflate = r.Snappy && o.snappy, r.Deflate && o.deflate
	info.DeflateLevel = r.DeflateLevel
	info.MaxMsgTimeout = o.maxMsgTimeout.Milliseconds()
	info.AuthRequired = o.secret != ""
	if r.Extension != nil {
		info.Extension = o.extension
	}
	return info
}

// layered is a connection with layers upon it.
type layered struct {
	net.Conn // the socket, for closing
	from     io.Reader
	to       io.Writer
	flush    func() error
}

func (l *layered) Read(p []byte) (int, error) { return l.from.Read(p) }

func (l *layered) Write(p []byte) (int, error) {
	n, err := l.to.Write(p)
	if err == nil {
		err = l.flush()
	}
	return n, err
}

// Read reads what the topmost layer gives.
func (s *session) Read(p []byte) (int, error) { return s.nc.Read(p) }

// upgrade sends the answer to IDENTIFY and sets up what it promises.
func (s *session) upgrade(info protocol.IdentifyResponse, answer []byte) error {
	ok := protocol.AppendFrame(nil, protocol.FrameResponse, protocol.OK)
	l := &layered{s.nc, s.nc, s.nc, func() error { return nil }}
	if _, err := l.Write(protocol.AppendFrame(nil, protocol.FrameResponse, answer)); err != nil {
		return err
	}
	if info.TLSv1 {
		c := tls.Server(s.nc, s.offers.tls)
		if err := c.Handshake(); err != nil {
			return err
		}
		l.from, l.to = c, c
		if _, err := l.Write(ok); err != nil {
			return err
		}
	}
	if info.Snappy || info.Deflate {
		if info.Snappy {
			w := snappy.NewBufferedWriter(l.to)
			l.from, l.to, l.flush = snappy.NewReader(bufio.NewReader(l.from)), w, w.Flush
		} else {
			w, err := flate.NewWriter(l.to, info.DeflateLevel)
			if err != nil {
				return err
			}
			l.from, l.to, l.flush = flate.NewReader(l.from), w, w.Flush
		}
		if _, err := l.Write(ok); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.nc = l
	s.mu.Unlock()
	return nil
}

// certify returns a certificate for names, and what to trust it by.
func certify(t testing.TB, names ...string) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: names, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	own, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(own)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, pool
}
