package lookupd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/lookupd/registry"
	"github.com/millrace-mq/millrace/protocol"
)

// FuzzConversation lets a peer say anything after the magic. Whatever it says,
// it gets whole replies, one for a command, of which at most the last is an
// error; no name out of rule is registered; and nothing of it stays, for here lost
// daemons are remembered for no time.
func FuzzConversation(f *testing.F) {
	const who = `{"broadcast_address":"a","tcp_port":1,"http_port":2,"version":"1"}`
	join := string(protocol.AppendIdentify(nil, []byte(who)))
	const qd = `{"broadcast_address":"a","tcp_port":1,"http_port":0,"version":"1","extended":true,"instance":"i","state":"ready"}`
	extended := string(protocol.AppendIdentify(nil, []byte(qd)))
	for _, seed := range []string{
		extended + "REGISTER t c 5 paused\nREGISTER t  5\nREGISTER t  7\nUNREGISTER t c 7\nUNREGISTER t  7\nSTATE failing\nSYNCED\nPING\n",
		extended + "REGISTER t c 5\n",
		extended + "REGISTER t  18446744073709551616\n", extended + "REGISTER t c 1 pause\n", extended + "STATE \n", join + "STATE ready\n",
		"", "PING\n", "\n", " ", "REGISTER t c\n", join, join + join,
		join + "REGISTER t c\nUNREGISTER t c\nUNREGISTER t\nPING\r\n",
		join + "REGISTER t#ephemeral c#ephemeral\nUNREGISTER t#ephemeral\n",
		join + "REGISTER  \n", join + "REGISTER t *\n", join + "REGISTER t",
		"IDENTIFY\n\xff\xff\xff\xff", "IDENTIFY\n\x7f\xff\xff\xff{}", "IDENTIFY\n\x00\x00\x00\x02{}",
		strings.Repeat("x", protocol.MaxLine),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		var told bytes.Buffer
		self := protocol.PeerInfo{BroadcastAddress: "l", TCPPort: 1, HTTPPort: 2, Version: "1", Extended: true}
		s := &session{
			peerServer: newPeerServer(newDirectory(registry.Config{Inactive: time.Minute}), self, time.Minute, slog.New(slog.DiscardHandler)),
			ctx:        t.Context(),
			remote:     &net.TCPAddr{},
			arm:        func(time.Duration) {},
			admit:      func() bool { return true },
		}
		s.begin(struct {
			io.Reader
			io.Writer
		}{bytes.NewReader(said), &told}, access.Who{})
		err := s.converse()
		commands := 0
		for _, n := range s.counts.commands.values() {
			commands += int(n)
		}

		s.dir.read(func(r *registry.Registry, _ time.Time) {
			for _, topic := range r.Topics("", len(said)+1) {
				for _, name := range append(r.Channels(topic), topic) {
					if !protocol.ValidName(name) {
						t.Errorf("%q is registered", name)
					}
				}
			}
		})
		if s.peer != nil {
			s.leave(err)
		}
		s.expire(t.Context())
		s.dir.read(func(r *registry.Registry, now time.Time) {
			if left := r.Peers(); len(left) > 0 {
				t.Errorf("%v stays", left)
			}
			for _, topic := range r.Topics("", len(said)+1) {
				if left := r.Registrations(topic, now); len(left) > 0 {
					t.Errorf("%v stays", left)
				}
			}
		})

		replies := splitReplies(t, told.Bytes())
		if len(replies) > commands {
			t.Errorf("%d replies to %d commands", len(replies), commands)
		}
		refused, ended := errors.AsType[*protocol.Error](err)
		for i, reply := range replies {
			if last := ended && i == len(replies)-1; strings.HasPrefix(reply, "E_") != last || last && reply != refused.Error() {
				t.Errorf("reply %d of %d is %q; the end was %v", i, len(replies), reply, err)
			}
		}
	})
}

func splitReplies(t *testing.T, b []byte) (replies []string) {
	for len(b) > 0 {
		if len(b) < 4 || int(binary.BigEndian.Uint32(b)) > len(b)-4 {
			t.Fatalf("%q is not a whole reply", b)
		}
		n := 4 + int(binary.BigEndian.Uint32(b))
		replies = append(replies, string(b[4:n]))
		b = b[n:]
	}
	return replies
}

// A size is refused before a byte is allocated for it.
func TestRefusedSizesCostNothing(t *testing.T) {
	for _, size := range []uint32{1<<32 - 1, 1 << 31, 1<<31 - 1, maxIdentify + 1} {
		in := bytes.NewReader(binary.BigEndian.AppendUint32(nil, size))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, refused := readIdentify(in)
		runtime.ReadMemStats(&after)
		if refused == nil {
			t.Errorf("size %d is accepted", int32(size))
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > maxIdentify/2 {
			t.Errorf("size %d: %d bytes allocated", int32(size), got)
		}
	}
}
