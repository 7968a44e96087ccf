package lookupd

import (
	"io"
	"log/slog"
	"maps"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/lookupd/registry"
	"github.com/millrace-mq/millrace/protocol"
)

// talk has a peer say everything at once on a connection of its own and reads the
// replies away. The peer hangs up when the returned function is called.
func talk(t *testing.T, p *peerServer, say string) (hangUp func()) {
	near, far := net.Pipe()
	go p.handle(t.Context(), far, p.lobby.enter(far))
	go func() { _, _ = io.WriteString(near, say) }()
	go func() { _, _ = io.Copy(io.Discard, near) }()
	return func() { _ = near.Close() }
}

// TestCounts has peers of all kinds, and wants each counted once, and nobody left
// when all are gone.
func TestCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeerServer(newDirectory(registry.Config{Inactive: time.Hour, Tombstone: time.Hour}), protocol.PeerInfo{}, time.Minute, slog.New(slog.DiscardHandler))
		const who = `{"broadcast_address":"a","tcp_port":1,"http_port":2,"version":"1"`
		plain := protocol.MagicV1 + string(protocol.AppendIdentify(nil, []byte(who+"}")))
		extended := protocol.MagicV1 + string(protocol.AppendIdentify(nil, []byte(who+`,"extended":true,"instance":"i"}`)))
		var hangUps []func()
		for _, say := range []string{
			"", " ", protocol.MagicV1, // strangers
			plain + "REGISTER t\nREGISTER t c\nPING\n", plain, plain + "UNREGISTER t\nUNREGISTER t\n",
			extended + "REGISTER t  5\nSTATE draining\nSYNCED\n", extended,
			plain + "STATE ready\n", protocol.MagicV1 + "SING\n", "HTTP", plain + "REGISTER *\n", plain + "REGISTER t *\n",
			protocol.MagicV1 + "IDENTIFY\n\xff\xff\xff\xff", protocol.MagicV1 + strings.Repeat("x", protocol.MaxLine),
		} {
			hangUps = append(hangUps, talk(t, p, say))
		}
		synctest.Wait()
		if n := p.Counts().Strangers; n != 3+6 {
			t.Errorf("%d strangers, want three and six that have just been told an error", n)
		}
		time.Sleep(lingerTimeout + time.Second)
		got := p.Counts()
		if got.Strangers != 3 || got.Plain != 3 || got.Extended != 2 || got.TLS != 0 || got.Accepted != 15 {
			t.Errorf("%+v", got)
		}
		wantCommands := map[string]uint64{
			"IDENTIFY": 9, "PING": 1, "REGISTER": 5, "UNREGISTER": 2, "STATE": 1, "SYNCED": 1, "other": 2,
		}
		if !maps.Equal(got.Commands, wantCommands) {
			t.Errorf("commands %v, want %v", got.Commands, wantCommands)
		}
		wantRefused := map[string]uint64{
			"crowded": 0, "full": 0, "address": 0, "slow": 0, "long_line": 1, "tls": 0, "tls_required": 0, "silent": 0,
			"invalid": 2, "bad_protocol": 1, "bad_topic": 1, "bad_channel": 1, "bad_body": 1, "unauthorized": 0,
		}
		if !maps.Equal(got.Refused, wantRefused) {
			t.Errorf("refused %v, want %v", got.Refused, wantRefused)
		}
		hangUps[0]()
		time.Sleep(time.Hour)
		if got = p.Counts(); got.Strangers+got.Plain+got.Extended+got.TLS != 0 || got.Refused["slow"] != 2 || got.Refused["silent"] != 5 {
			t.Errorf("after an hour %+v", got)
		}
		for range 3 * maxStrangers {
			talk(t, p, "")
		}
		synctest.Wait()
		if got = p.Counts(); got.Strangers != maxStrangers || got.Refused["crowded"] != 2*maxStrangers {
			t.Errorf("in a crowd %+v", got)
		}
		time.Sleep(time.Minute)
	})
}

// TestPlainIsTold has the reply to a plain daemon's IDENTIFY be NSQ's alone.
func TestPlainIsTold(t *testing.T) {
	self := protocol.PeerInfo{BroadcastAddress: "b", Hostname: "h", HTTPPort: 1, TCPPort: 2, Version: "1.3.0", Extended: true, HTTPSPort: 3}
	p := newPeerServer(newDirectory(registry.Config{Inactive: time.Hour, Tombstone: time.Hour}), self, time.Minute, slog.New(slog.DiscardHandler))
	const plain = `{"broadcast_address":"b","hostname":"h","http_port":1,"tcp_port":2,"version":"1.3.0"`
	if string(p.toPlain) != plain+"}" || string(p.toExtended) != plain+`,"extended":true,"https_port":3}` {
		t.Errorf("plain %s, extended %s", p.toPlain, p.toExtended)
	}
}
