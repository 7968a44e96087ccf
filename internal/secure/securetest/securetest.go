// Package securetest makes certificates for tests, which so need no files in
// the repository that expire one day.
package securetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Authority signs certificates.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	PEM  []byte // its own certificate
}

// validity covers the year 2000, where the clock of a synctest bubble begins.
var begin, end = time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2199, 1, 1, 0, 0, 0, 0, time.UTC)

// NewAuthority returns an Authority of its own.
func NewAuthority(name string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: begin, NotAfter: end,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &Authority{cert, key, pemOf("CERTIFICATE", der)}, err
}

// Pool is what clients and servers that trust the authority have.
func (a *Authority) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// Issue returns a certificate for name and for localhost, and its key, in PEM
// form. It has expired if until is in the past; zero is a long time.
func (a *Authority) Issue(name string, until time.Time) (cert, key []byte, err error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if until.IsZero() {
		until = end
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: begin, NotAfter: until,
		DNSNames: []string{name, "localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, k.Public(), a.key)
	if err != nil {
		return nil, nil, err
	}
	text, err := x509.MarshalPKCS8PrivateKey(k)
	return pemOf("CERTIFICATE", der), pemOf("PRIVATE KEY", text), err
}

// Pair is Issue for those who want to use the certificate at once.
func (a *Authority) Pair(name string) (tls.Certificate, error) {
	cert, key, err := a.Issue(name, time.Time{})
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(cert, key)
}

// Write writes a certificate for name, its key, and the authority's own one to
// files in dir, and returns their names.
func (a *Authority) Write(dir, name string) (cert, key, root string, err error) {
	c, k, err := a.Issue(name, time.Time{})
	if err != nil {
		return "", "", "", err
	}
	cert, key, root = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "ca.pem")
	for file, text := range map[string][]byte{cert: c, key: k, root: a.PEM} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			return "", "", "", fmt.Errorf("writing a certificate for a test: %w", err)
		}
	}
	return cert, key, root, nil
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
