// Package clustertest plays a fleet of queue daemons and lookupds for tests: HTTP servers
// with figures that a test moves, that obey what they are told, and that fail, hang,
// restart or answer nonsense when a test wants them to. Millrace's daemons are played,
// and stock nsqd.
package clustertest

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/admin/cluster"
)

// Fleet is what NewFleet returns. The slices do not change.
type Fleet struct {
	Nodes    []*Node
	Lookupds []*Lookupd

	memory *network // nil: they listen on 127.0.0.1
}

// Option is one of those below.
type Option func(*plan)

type plan struct {
	nodes, stock, lookupds   int
	topics, channels, spread int
	inMemory                 bool
}

// Nodes has n queue daemons be played; 1 if it is not given.
func Nodes(n int) Option { return func(p *plan) { p.nodes = n } }

// Stock has the last n of the queue daemons be stock nsqd.
func Stock(n int) Option { return func(p *plan) { p.stock = n } }

// Lookupds has n lookupds be played; 1 if it is not given. With 0, Settings name the queue
// daemons.
func Lookupds(n int) Option { return func(p *plan) { p.lookupds = n } }

// Topics has n topics be there, called as TopicName says; none if it is not given.
func Topics(n int) Option { return func(p *plan) { p.topics = n } }

// Channels has each topic have n channels, called as ChannelName says; 2 if it is not given.
func Channels(n int) Option { return func(p *plan) { p.channels = n } }

// Spread has each topic be on n of the queue daemons; on all if it is not given.
func Spread(n int) Option { return func(p *plan) { p.spread = n } }

// InMemory has no sockets be used, so that all of it can run under a fake clock. Use the
// Fleet's Settings, or its Dial.
func InMemory() Option { return func(p *plan) { p.inMemory = true } }

// TopicName is what the topic with a number is called, from 0.
func TopicName(i int) string { return fmt.Sprintf("topic-%05d", i) }

// ChannelName is what the channel with a number is called, from 0.
func ChannelName(i int) string { return fmt.Sprintf("channel-%d", i) }

// NewFleet plays a fleet until the test ends. All of its topics are empty.
func NewFleet(t testing.TB, options ...Option) *Fleet {
	t.Helper()
	p := plan{nodes: 1, lookupds: 1, channels: 2}
	for _, o := range options {
		o(&p)
	}
	if p.spread == 0 {
		p.spread = p.nodes
	}
	f := new(Fleet)
	if p.inMemory {
		f.memory = newNetwork()
	}
	for i := range p.nodes {
		n := newNode(f, i, i >= p.nodes-p.stock)
		n.start(t, f.memory, fmt.Sprintf("qd-%d:4151", i), n.routes())
		f.Nodes = append(f.Nodes, n)
	}
	for i := range p.lookupds {
		l := newLookupd(f)
		l.start(t, f.memory, fmt.Sprintf("lookupd-%d:4161", i), l.routes())
		f.Lookupds = append(f.Lookupds, l)
	}
	for k, n := range f.Nodes {
		n.Change(func(d *Daemon) {
			for i := range p.topics {
				if (k-i%p.nodes+p.nodes)%p.nodes < p.spread {
					topic := d.Topic(TopicName(i))
					for j := range p.channels {
						topic.Channel(ChannelName(j))
					}
				}
			}
		})
	}
	return f
}

// Settings are for a Cluster of this fleet: by its lookupds, if it has any.
func (f *Fleet) Settings() cluster.Settings {
	// #nosec G402 -- only if the operator asks for it, and said so in the flag's name
	s := cluster.Settings{TLS: func(string) *tls.Config { return &tls.Config{InsecureSkipVerify: true} }}
	if f.memory != nil {
		s.Dial = f.memory.dial
	}
	for _, l := range f.Lookupds {
		s.Lookupds = append(s.Lookupds, l.Address())
	}
	if len(f.Lookupds) == 0 {
		for _, n := range f.Nodes {
			s.Daemons = append(s.Daemons, n.Address())
		}
	}
	return s
}

// Cluster returns a Cluster of this fleet; it is closed when the test ends.
func (f *Fleet) Cluster(t testing.TB) *cluster.Cluster {
	t.Helper()
	c, err := cluster.New(f.Settings(), slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// Node returns the queue daemon with an address, or nil.
func (f *Fleet) Node(address string) *Node {
	for _, n := range f.Nodes {
		if n.Address() == address {
			return n
		}
	}
	return nil
}

// Dial connects to those of this fleet that are played in memory.
func (f *Fleet) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return f.memory.dial(ctx, network, address)
}

// Requests is how many requests for a path all queue daemons have had together; of any
// path, if it is empty.
func (f *Fleet) Requests(path string) (n int) {
	for _, node := range f.Nodes {
		n += node.Requests(path)
	}
	return n
}

// network is one in memory.
type network struct {
	mu        sync.Mutex // guards listeners
	listeners map[string]*pipes
}

func newNetwork() *network { return &network{listeners: make(map[string]*pipes)} }

func (n *network) listen(address string) net.Listener {
	l := &pipes{address: address, conns: make(chan net.Conn), closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listeners[address] = l
	return l
}

func (n *network) dial(ctx context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	l := n.listeners[address]
	n.mu.Unlock()
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: fmt.Errorf("%s: connection refused", address)}
	if l == nil {
		return nil, refused
	}
	near, far := net.Pipe()
	select {
	case l.conns <- far:
		return near, nil
	case <-l.closed:
		return nil, refused
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// pipes is a listener of a network in memory.
type pipes struct {
	address string
	conns   chan net.Conn
	once    sync.Once
	closed  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return pipeAddr(p.address) }

type pipeAddr string

func (pipeAddr) Network() string  { return "tcp" }
func (a pipeAddr) String() string { return string(a) }

// startTime is of whole seconds, as daemons tell it.
func startTime() time.Time { return time.Now().Truncate(time.Second) }
