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
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/internal/logtest"
	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/broker"
	"github.com/millrace-mq/millrace/qd/peers"
)

// network is what a daemon dials, in memory: a function for each address.
type network struct {
	mu     sync.Mutex
	hosts  map[string]func(net.Conn)
	dials  map[string][]time.Time
	silent map[string]bool // addresses from which nothing comes, not even a refusal
	delay  time.Duration   // one way
	wg     sync.WaitGroup
}

func newNetwork() *network {
	return &network{hosts: make(map[string]func(net.Conn)), dials: make(map[string][]time.Time), silent: make(map[string]bool)}
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

func (n *network) dial(ctx context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	n.dials[address] = append(n.dials[address], time.Now())
	serve, silent := n.hosts[address], n.silent[address]
	n.mu.Unlock()
	if silent {
		<-ctx.Done()
		return nil, fmt.Errorf("dial %s: %w", address, ctx.Err())
	}
	if serve == nil {
		return nil, fmt.Errorf("dial %s: connection refused", address)
	}
	near, far := net.Pipe()
	if n.delay > 0 {
		middle, other := net.Pipe()
		end := far
		n.wg.Go(func() { n.carry(end, middle) })
		n.wg.Go(func() { n.carry(middle, end) })
		far = other
	}
	n.wg.Go(func() {
		defer far.Close()
		serve(far)
	})
	return near, nil
}

// carry brings bytes from one end to another, each after the delay, and closes
// both when there are no more.
func (n *network) carry(from, to net.Conn) {
	type parcel struct {
		bytes []byte
		due   time.Time
	}
	way := make(chan parcel, 1<<14)
	n.wg.Go(func() {
		defer to.Close()
		failed := false
		for p := range way {
			time.Sleep(time.Until(p.due))
			if !failed {
				_, err := to.Write(p.bytes)
				failed = err != nil
			}
		}
	})
	defer close(way)
	defer from.Close()
	for buffer := make([]byte, 64<<10); ; {
		got, err := from.Read(buffer)
		if got > 0 {
			way <- parcel{slices.Clone(buffer[:got]), time.Now().Add(n.delay)}
		}
		if err != nil {
			return
		}
	}
}

// lookupd is one that writes down what it is told, and knows what it was told.
type lookupd struct {
	web      string // its HTTP address, told to daemons
	extended bool   // it speaks the extension

	mu     sync.Mutex
	self   protocol.PeerInfo   // what it was told last
	heard  []string            // commands since last asked, but PINGs
	pings  []time.Time         // when they came
	known  map[string]net.Conn // "topic" and "topic channel", and the daemon that has said so last
	conns  map[net.Conn]struct{}
	forgot bool          // it wants to be told everything again
	hold   chan struct{} // if not nil, replies wait until it is closed
	says   func(command string) string
	full   map[string]bool // what it has no room for, as it is said in REGISTER
}

func newLookupd(web string) *lookupd {
	return &lookupd{web: web, known: make(map[string]net.Conn), conns: make(map[net.Conn]struct{})}
}

func (l *lookupd) serve(conn net.Conn) {
	l.mu.Lock()
	l.conns[conn] = struct{}{}
	l.mu.Unlock()
	_ = l.converse(conn) // the daemon hung up
	l.mu.Lock()
	delete(l.conns, conn)
	maps.DeleteFunc(l.known, func(_ string, owner net.Conn) bool { return owner == conn })
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
			if reply, err = l.identify(conn, in); err != nil {
				return err
			}
		}
		l.hear(conn, line)
		l.mu.Lock()
		hold, says := l.hold, l.says
		if what, is := strings.CutPrefix(line, "REGISTER "); is && l.full[what] {
			reply = "E_TOO_MANY " + line + ": full"
		}
		l.mu.Unlock()
		if says != nil {
			reply = says(line)
		} else if line == "PING" && l.resyncs() {
			reply = protocol.Resync
		}
		if hold != nil {
			<-hold
		}
		if _, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(reply))), reply...)); err != nil {
			return err
		}
		if strings.HasPrefix(reply, "E_") && !strings.HasPrefix(reply, protocol.ETooMany) {
			return nil
		}
	}
}

func (l *lookupd) identify(conn net.Conn, in io.Reader) (string, error) {
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
	l.hear(conn, fmt.Sprintf("IDENTIFY %s:%d", info.BroadcastAddress, info.TCPPort))
	host, port, _ := net.SplitHostPort(l.web)
	l.mu.Lock()
	l.self = info
	l.mu.Unlock()
	more := ""
	if l.extended {
		more = `,"extended":true`
	}
	return fmt.Sprintf(`{"broadcast_address":%q,"http_port":%s,"https_port":%[2]s,"tcp_port":4160,"version":"1.3.0","hostname":"h"%s}`, host, port, more), nil
}

// hear writes a command down.
func (l *lookupd) hear(conn net.Conn, line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	verb, names, _ := strings.Cut(line, " ")
	topic, _, _ := strings.Cut(names, " ")
	switch verb {
	case "PING":
		l.pings = append(l.pings, time.Now())
		return
	case "REGISTER":
		l.known[topic], l.known[names] = conn, conn
	case "UNREGISTER":
		delete(l.known, names)
	}
	if line != "IDENTIFY" {
		l.heard = append(l.heard, line)
	}
}

// resyncs reports whether the next PING is answered RESYNC, once.
func (l *lookupd) resyncs() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	wants := l.forgot
	l.forgot = false
	return wants
}

// forget has the daemon asked to say everything again.
func (l *lookupd) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forgot = true
}

// info is what it was told last of a daemon.
func (l *lookupd) info() protocol.PeerInfo {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.self
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
	log    *logBook
	start  func() // begins Run, when the network is as the test wants it
}

// inBubble calls test, which has to call start, under a fake clock.
func inBubble(t *testing.T, addresses []string, test func(b *bench)) {
	inBubbleWith(t, addresses, func(*bench, *peers.Config, *broker.Settings) {}, test)
}

func inBubbleWith(t *testing.T, addresses []string, change func(*bench, *peers.Config, *broker.Settings), test func(b *bench)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, net: newNetwork()}
		b.log = new(logBook)
		log := slog.New(slog.NewTextHandler(io.MultiWriter(t.Output(), b.log), nil))
		of := peers.Config{
			Addresses: addresses,
			Self: func() protocol.PeerInfo {
				return protocol.PeerInfo{BroadcastAddress: "qd", TCPPort: 4150, Version: "1.3.0"}
			},
			ConnectTimeout: 2 * time.Second, RequestTimeout: 5 * time.Second,
			Dial: b.net.dial, Log: log,
		}
		core := broker.Settings{
			DataPath: t.TempDir(), MemoryMessages: 1000, MemoryBytes: 1 << 30, FileBytes: 1 << 20,
			SyncEvery: 1000, SyncTimeout: time.Second, MaxMsgTimeout: time.Hour,
			Log: slog.New(slog.DiscardHandler),
		}
		change(b, &of, &core)
		b.peers = peers.New(of)
		core.Channels = b.peers.Channels
		var err error
		b.broker, err = broker.Open(core)
		if err != nil {
			t.Fatal(err)
		}
		brokerCtx, stopBroker := context.WithCancel(t.Context())
		ctx, stop := context.WithCancel(t.Context())
		var keeping, links sync.WaitGroup
		keeping.Go(func() { expectNil(t, b.broker.Run(brokerCtx)) })
		b.start = func() { links.Go(func() { expectNil(t, b.peers.Run(ctx, b.broker)) }) }
		test(b)
		stop()
		links.Wait()
		b.net.wg.Wait() // Run has closed all connections
		stopBroker()
		keeping.Wait()
		expectNil(t, b.broker.Close())
	})
}

// logBook keeps what is logged.
type logBook struct{ logtest.Lines }

func (l *logBook) count(text string) int { return strings.Count(l.String(), text) }

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
