package lookupd

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/internal/secure/securetest"
	"github.com/millrace-mq/millrace/lookupd/registry"
	"github.com/millrace-mq/millrace/protocol"
)

// A peer over TLS that does not take its replies is waited for at a stop no longer
// than others are: its farewell is another thing to take.
func TestADeafPeerOverTLSIsWaitedForNoLonger(t *testing.T) {
	authority, err := securetest.NewAuthority("ours")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := authority.Pair("lookupd")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		p := newPeerServer(newDirectory(registry.Config{Inactive: time.Minute}), protocol.PeerInfo{}, time.Minute, slog.New(slog.DiscardHandler))
		p.tls = &tls.Config{Certificates: []tls.Certificate{pair}, SessionTicketsDisabled: true}
		near, far := net.Pipe()
		defer near.Close()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			p.handle(ctx, far, p.lobby.enter(far))
			close(ended)
		}()
		const who = `{"broadcast_address":"a","tcp_port":1,"http_port":2,"version":"1"}`
		deaf := tls.Client(near, &tls.Config{RootCAs: authority.Pool(), ServerName: "localhost"})
		if _, err := io.WriteString(deaf, protocol.MagicV1+string(protocol.AppendIdentify(nil, []byte(who)))); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := p.Counts().TLS; n != 1 {
			t.Fatalf("%d daemons over TLS", n)
		}
		began := time.Now()
		stop()
		<-ended
		if took := time.Since(began); took != stopGrace {
			t.Errorf("the stop took %s, want %s", took, stopGrace)
		}
	})
}
