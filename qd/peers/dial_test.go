package peers_test

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/internal/secure"
	"github.com/millrace-mq/millrace/internal/secure/securetest"
	"github.com/millrace-mq/millrace/qd/broker"
	"github.com/millrace-mq/millrace/qd/peers"
)

// A name that stands for several machines, of which the first is cut off, and
// later for others.
func TestANameWithSeveralMachines(t *testing.T) {
	var hosts atomic.Value // []string
	hosts.Store([]string{"10.0.0.1", "10.0.0.2", "fd00::3"})
	inBubbleWith(t, []string{"name:4160"}, func(_ *bench, c *peers.Config, _ *broker.Settings) {
		c.Resolve = func(_ context.Context, host string) ([]string, error) {
			all := hosts.Load().([]string)
			if host != "name" || len(all) == 0 {
				return nil, errors.New("no such host")
			}
			return all, nil
		}
	}, func(b *bench) {
		k, l := newLookupd("k:4161"), newLookupd("l:4161")
		b.net.silent["10.0.0.1:4160"] = true
		b.net.host("10.0.0.2:4160", k.serve)
		b.net.host("[fd00::3]:4160", l.serve)
		b.start()
		time.Sleep(3 * time.Second)
		b.expect(k, hello)
		b.net.host("10.0.0.2:4160", nil)
		k.hangUp()
		time.Sleep(3 * time.Second)
		b.expect(l, hello)
		hosts.Store([]string(nil))
		l.hangUp()
		time.Sleep(time.Minute)
		if got := b.link("name:4160").LastError; !strings.Contains(got, "name") || !strings.Contains(got, "no such host") {
			t.Errorf("the error is %q", got)
		}
		hosts.Store([]string{"10.0.0.4"})
		b.net.host("10.0.0.4:4160", k.serve)
		time.Sleep(16 * time.Second)
		b.expect(k, hello)
	})
}

// A lookupd that is cut off, so that nothing comes from it any more, is noticed a
// PING and a timeout later.
func TestCutOff(t *testing.T) {
	inBubble(t, []string{"l:4160"}, func(b *bench) {
		l := newLookupd("l:4161")
		b.net.host("l:4160", l.serve)
		b.start()
		synctest.Wait()
		defer l.holdReplies()()
		time.Sleep(20*time.Second - time.Millisecond)
		synctest.Wait()
		if got := b.link("l:4160"); !got.Linked {
			t.Errorf("given up too early: %+v", got)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if got := b.link("l:4160"); got.Linked || got.Failures != 1 || !strings.Contains(got.LastError, "did not reply within 5s") {
			t.Errorf("it is told as %+v", got)
		}
	})
}

func TestLinksAreTold(t *testing.T) {
	inBubble(t, []string{"l:4160", "dead:4160", "l:4160"}, func(b *bench) {
		extendedLookupd(b)
		b.net.host("l:4161", newLibrary(0, "").serve)
		b.start()
		b.create("t", "c")
		b.create("u")
		time.Sleep(time.Second)
		b.peers.SetAddresses([]string{"l:4160", "dead:4160", "new:4160"})
		all := b.peers.Links()
		if len(all) != 3 {
			t.Fatalf("%d links: %+v", len(all), all)
		}
		l, dead := all[0], all[1]
		if !l.Linked || !l.Extended || l.Topics != 2 || l.Version != "1.3.0" || l.LastError != "" || l.Failures != 0 || time.Since(l.Since) != time.Second {
			t.Errorf("the one that is well is told as %+v", l)
		}
		if dead.Linked || dead.Address != "dead:4160" || dead.Failures < 2 || !strings.Contains(dead.LastError, "refused") || time.Since(dead.Since) != time.Second {
			t.Errorf("the one that is dead is told as %+v", dead)
		}
		if all[2].Linked || all[2].Address != "new:4160" {
			t.Errorf("the one that was just added is told as %+v", all[2])
		}
	})
}

// TLS has the lookupd's certificate verified for the host that was configured, on
// both faces, wherever the second one is.
func TestTLS(t *testing.T) {
	ours, err := securetest.NewAuthority("ours")
	expectNil(t, err)
	others, err := securetest.NewAuthority("others")
	expectNil(t, err)
	for name, c := range map[string]struct {
		signer   *securetest.Authority
		issuedTo string
		want     string // in the error; empty: it is linked
	}{
		"right":           {ours, "l", ""},
		"wrong host":      {ours, "m", "not l"},
		"wrong authority": {others, "l", "unknown authority"},
	} {
		pair, err := c.signer.Pair(c.issuedTo)
		expectNil(t, err)
		server := &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ours.Pool()}
		over := func(serve func(net.Conn)) func(net.Conn) {
			return func(conn net.Conn) { serve(tls.Server(conn, server)) }
		}
		cert, key, root, err := ours.Write(t.TempDir(), "qd")
		expectNil(t, err)
		inBubbleWith(t, []string{"l:4160"}, func(_ *bench, p *peers.Config, _ *broker.Settings) {
			var err error
			p.TLS, err = secure.Client(secure.ClientFiles{Prefix: "lookupd-", Cert: cert, Key: key, RootCA: root}, slog.New(slog.DiscardHandler))
			expectNil(t, err)
		}, func(b *bench) {
			l := newLookupd("elsewhere:4161")
			b.net.host("l:4160", over(l.serve))
			b.net.host("elsewhere:4161", over(newLibrary(0, `"a"`).serve))
			b.start()
			time.Sleep(time.Second)
			got := b.link("l:4160")
			if got.Linked != (c.want == "") || !strings.Contains(got.LastError, c.want) {
				t.Errorf("%s: it is told as %+v", name, got)
			}
			if c.want == "" {
				b.expect(l, hello)
				b.create("t")
				b.expectChannels("t", "a")
			}
		})
	}
}
