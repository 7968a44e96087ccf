package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	millrace "github.com/millrace-mq/millrace/clients/go"
)

// TestClientLayers publishes and consumes through each combination of layers that a
// Writer and a Reader can ask for, with a daemon that wants AUTH.
func TestClientLayers(t *testing.T) {
	permits := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("secret") != "open sesame" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		fmt.Fprint(w, `{"ttl":3600,"authorizations":[{"topic":".*","channels":[".*"],"permissions":["publish","subscribe"]}]}`)
	}))
	defer permits.Close()
	s, p := startSecured(t, newAuthority(t), "qd", "--auth-http-address="+strings.TrimPrefix(permits.URL, "http://"))
	for i, c := range []struct {
		tls         bool
		compression millrace.Compression
	}{
		{false, millrace.None}, {false, millrace.Snappy}, {false, millrace.Deflate},
		{true, millrace.None}, {true, millrace.Snappy}, {true, millrace.Deflate},
	} {
		t.Run(fmt.Sprintf("TLS %v, compression %d", c.tls, c.compression), func(t *testing.T) {
			how := millrace.Connection{Compression: c.compression, AuthSecret: "open sesame"}
			if c.tls {
				how.TLS = &tls.Config{RootCAs: s.trusting().RootCAs, ServerName: "localhost"}
			}
			throughLayers(t, s.tcp, fmt.Sprint("layered", i), how)
		})
	}
	t.Run("a secret that is not known", func(t *testing.T) {
		w, err := millrace.NewWriter(millrace.WriterConfig{
			Addresses: []string{s.tcp}, Connection: millrace.Connection{AuthSecret: "open barley"},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := w.Publish(ctx, "orders", []byte("x")); err == nil || !strings.Contains(err.Error(), "E_AUTH_FAILED") {
			t.Error(err)
		}
		_ = w.Close()
	})
	p.stop(os.Interrupt)
}

// throughLayers has messages of many sizes come back as they were.
func throughLayers(t *testing.T, address, topic string, how millrace.Connection) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	w, err := millrace.NewWriter(millrace.WriterConfig{Addresses: []string{address}, Connection: how})
	if err != nil {
		t.Fatal(err)
	}
	random := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(random)
	bodies := [][]byte{random, random[:65536], []byte(strings.Repeat("x", 1<<20))}
	for i := range 1000 {
		bodies = append(bodies, fmt.Appendf(nil, "message %d", i))
	}
	for _, b := range bodies[:10] {
		if err := w.Publish(ctx, topic, b); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.PublishMany(ctx, topic, bodies[10:]); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	var got [][]byte
	r, err := millrace.NewReader(millrace.ReaderConfig{
		Topic: topic, Channel: "all", Addresses: []string{address}, Connection: how,
		Handler: millrace.HandlerFunc(func(_ context.Context, m *millrace.Message) error {
			if got = append(got, slices.Clone(m.Body)); len(got) == len(bodies) {
				cancel()
			}
			return nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Run(ctx); err != nil {
		t.Error(err)
	}
	if !slices.EqualFunc(got, bodies, slices.Equal) {
		t.Errorf("%d messages came back, or others than the %d published", len(got), len(bodies))
	}
}
