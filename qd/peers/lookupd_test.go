package peers_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/broker"
	"github.com/millrace-mq/millrace/qd/peers"
)

// network is what a daemon dials, in memory: a function for each address.
type network struct {
	mu    sync.Mutex
	hosts map[string]func(net.Conn)
	dials map[string][]time.Time
	wg    sync.WaitGroup
}

func newNetwork() *network {
	return &network{hosts: make(map[string]func(net.Conn)), dials: make(map[string][]time.Time)}
}

// host answers connections to address with serve; nil refuses them.
func (n *network) host(address string, serve func(net.Conn)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[address] = serve
}

func (n *network) dialled(address string) []time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.dials[address])
}

func (n *network) dial(_ context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	n.dials[address] = append(n.dials[address], time.Now())
	serve := n.hosts[address]
	n.mu.Unlock()
	if serve == nil {
		return nil, fmt.Errorf("dial %s: connection refused", address)
	}
	near, far := net.Pipe()
	n.wg.Go(func() {
		defer far.Close()
		serve(far)
	})
	return near, nil
}

// lookupd is one that writes down what it is told, and knows what it was told.
type lookupd struct {
	web string // its HTTP address, told to daemons

	mu    sync.Mutex
	heard []string            // commands since last asked, but PINGs
	pings []time.Time         // when they came
	known map[string]struct{} // "topic" and "topic channel" of connected daemons
	conns map[net.Conn]struct{}
	hold  chan struct{} // if not nil, replies wait until it is closed
	says  func(command string) string
}

func newLookupd(web string) *lookupd {
	return &lookupd{web: web, known: make(map[string]struct{}), conns: make(map[net.Conn]struct{})}
}

func (l *lookupd) serve(conn net.Conn) {
	l.mu.Lock()
	l.conns[conn] = struct{}{}
	l.mu.Unlock()
	_ = l.converse(conn) // the daemon hung up
	l.mu.Lock()
	delete(l.conns, conn)
	clear(l.known)
	l.mu.Unlock()
}

func (l *lookupd) converse(conn net.Conn) error {
	in := bufio.NewReader(conn)
	magic := make([]byte, 4)
	if _, err := io.ReadFull(in, magic); err != nil || string(magic) != protocol.MagicV1 {
		return errors.Join(errors.New("no magic"), err)
	}
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		reply := protocol.OK
		if line = strings.TrimSuffix(line, "\n"); line == "IDENTIFY" {
			if reply, err = l.identify(in); err != nil {
				return err
			}
		}
		l.hear(line)
		l.mu.Lock()
		hold, says := l.hold, l.says
		l.mu.Unlock()
		if says != nil {
			reply = says(line)
		}
		if hold != nil {
			<-hold
		}
		if _, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(reply))), reply...)); err != nil {
			return err
		}
		if strings.HasPrefix(reply, "E_") {
			return nil
		}
	}
}

func (l *lookupd) identify(in io.Reader) (string, error) {
	var size uint32
	if err := binary.Read(in, binary.BigEndian, &size); err != nil {
		return "", err
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(in, body); err != nil {
		return "", err
	}
	var info protocol.PeerInfo
	if err := json.Unmarshal(body, &info); err != nil {
		return "", err
	}
	l.hear(fmt.Sprintf("IDENTIFY %s:%d", info.BroadcastAddress, info.TCPPort))
	host, port, _ := net.SplitHostPort(l.web)
	return fmt.Sprintf(`{"broadcast_address":%q,"http_port":%s,"tcp_port":4160,"version":"1.3.0","hostname":"h"}`, host, port), nil
}

// hear writes a command down.
func (l *lookupd) hear(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	verb, names, _ := strings.Cut(line, " ")
	topic, _, _ := strings.Cut(names, " ")
	switch verb {
	case "PING":
		l.pings = append(l.pings, time.Now())
		return
	case "REGISTER":
		l.known[topic], l.known[names] = struct{}{}, struct{}{}
	case "UNREGISTER":
		delete(l.known, names)
	}
	if line != "IDENTIFY" {
		l.heard = append(l.heard, line)
	}
}

// told returns what was heard since the last call.
func (l *lookupd) told() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	heard := l.heard
	l.heard = nil
	return heard
}

func (l *lookupd) knows() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.known)
}

func (l *lookupd) pingTimes() []time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.pings)
}

// holdReplies makes replies wait until release is called.
func (l *lookupd) holdReplies() (release func()) {
	hold := make(chan struct{})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hold = hold
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.hold = nil
		close(hold)
	}
}

// hangUp closes all connections.
func (l *lookupd) hangUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for conn := range l.conns {
		conn.Close()
	}
}

// bench is a daemon's broker and peers in a bubble.
type bench struct {
	t      *testing.T
	net    *network
	broker *broker.Broker
	peers  *peers.Peers
	start  func() // begins Run, when the network is as the test wants it
}

// inBubble calls test, which has to call start, under a fake clock.
func inBubble(t *testing.T, addresses []string, test func(b *bench)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, net: newNetwork()}
		log := slog.New(slog.NewTextHandler(t.Output(), nil))
		b.peers = peers.New(peers.Config{
			Addresses: addresses,
			Self: func() protocol.PeerInfo {
				return protocol.PeerInfo{BroadcastAddress: "qd", TCPPort: 4150, Version: "1.3.0"}
			},
			ConnectTimeout: 2 * time.Second, RequestTimeout: 5 * time.Second,
			Dial: b.net.dial, Log: log,
		})
		var err error
		b.broker, err = broker.Open(broker.Settings{
			DataPath: t.TempDir(), MemoryMessages: 1000, MemoryBytes: 1 << 30, FileBytes: 1 << 20,
			SyncEvery: 1000, SyncTimeout: time.Second, MaxMsgTimeout: time.Hour,
			Channels: b.peers.Channels, Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		brokerCtx, stopBroker := context.WithCancel(t.Context())
		ctx, stop := context.WithCancel(t.Context())
		var core, links sync.WaitGroup
		core.Go(func() { expectNil(t, b.broker.Run(brokerCtx)) })
		b.start = func() { links.Go(func() { expectNil(t, b.peers.Run(ctx, b.broker)) }) }
		test(b)
		stop()
		links.Wait()
		b.net.wg.Wait() // Run has closed all connections
		stopBroker()
		core.Wait()
		expectNil(t, b.broker.Close())
	})
}

func expectNil(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func (b *bench) create(topic string, channels ...string) {
	b.t.Helper()
	t, err := b.broker.Topic(b.t.Context(), topic)
	expectNil(b.t, err)
	for _, c := range channels {
		expectNil(b.t, t.CreateChannel(c))
	}
}

func (b *bench) find(topic string) *broker.Topic {
	b.t.Helper()
	t, err := b.broker.Find(topic)
	if err != nil {
		b.t.Fatal(err)
	}
	return t
}

// expect checks what l was told since it was last asked.
func (b *bench) expect(l *lookupd, want ...string) {
	b.t.Helper()
	synctest.Wait()
	if got := l.told(); !slices.Equal(got, want) {
		b.t.Errorf("lookupd was told %q, want %q", got, want)
	}
}
