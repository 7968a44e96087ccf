package fake

import (
	"compress/flate"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"sync"
	"time"

	"github.com/golang/snappy"
)

// layer is what a connection may be upgraded to, if IDENTIFY and its answer have
// its field.
type layer struct {
	field string
	begin func(net.Conn) (net.Conn, error)
}

// layers are in the order in which they begin.
var layers = []layer{{"tls_v1", beginTLS}, {"snappy", beginSnappy}, {"deflate", beginDeflate}}

func beginTLS(nc net.Conn) (net.Conn, error) {
	over := tls.Server(nc, serverTLS())
	if err := over.SetDeadline(time.Now().Add(writeTimeout)); err != nil {
		return nil, err
	}
	if err := over.Handshake(); err != nil {
		return nil, err
	}
	return over, over.SetDeadline(time.Time{})
}

func beginSnappy(nc net.Conn) (net.Conn, error) {
	return &compressed{nc, snappy.NewReader(nc), snappy.NewBufferedWriter(nc)}, nil
}

func beginDeflate(nc net.Conn) (net.Conn, error) {
	w, err := flate.NewWriter(nc, flate.DefaultCompression)
	return &compressed{nc, flate.NewReader(nc), w}, err
}

// compressed is a connection whose bytes are compressed; each write is sent.
type compressed struct {
	net.Conn
	in  io.Reader
	out interface {
		io.Writer
		Flush() error
	}
}

func (c *compressed) Read(b []byte) (int, error) { return c.in.Read(b) }

func (c *compressed) Write(b []byte) (int, error) {
	n, err := c.out.Write(b)
	if err == nil {
		err = c.out.Flush()
	}
	return n, err
}

// serverTLS is what fakes offer: a certificate that nobody has signed.
var serverTLS = sync.OnceValue(func() *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a fake daemon"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
})
