package cluster

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/internal/e2e/cluster/network"
)

// patience is how long anything may take of which GUARANTEES.md does not say how
// long it takes. It is long because the machine may be busy; nothing waits it out
// unless it fails.
const patience = 60 * time.Second

// Hosts that are not daemons'.
const (
	writers = "w"
	reader1 = "r1"
	reader2 = "r2"
)

// cluster is three qd, two lookupd, those who use them, and the network between.
type cluster struct {
	t       *testing.T
	seed    uint64
	network *network.Network
	hosts   map[string]*network.Host
	daemons []*node // qd
	lookups []*node // lookupd
	world   *world
	books   *books
	wires   wires
	readers []*reader

	buried       sync.Map // by burial: a tombstone hides it
	promises     []*promise
	stopWatching func() // and wait until nobody asks any more
}

// flags are what daemons are started with beside their addresses.
type flags struct{ qd, lookupd []string }

// newCluster starts all daemons, creates the topic with its channels on each, and
// waits until they answer. Everything ends with the test.
func newCluster(t *testing.T, f flags) *cluster {
	c := &cluster{t: t, seed: seed(t), hosts: map[string]*network.Host{}, books: new(books)}
	names := []string{"q1", "q2", "q3", "l1", "l2", writers, reader1, reader2}
	n, err := network.New(c.seed, names...)
	if errors.Is(err, network.ErrMissing) && os.Getenv("CI") != "true" {
		t.Skip("skipped: the cluster test needs root and /dev/net/tun")
	}
	if err != nil {
		t.Fatal(err)
	}
	c.network = n
	c.background(n.Run)
	for _, h := range n.Hosts() {
		c.hosts[h.Name()] = h
	}
	c.makeNodes(f)
	t.Cleanup(c.showNodes)
	for _, node := range c.nodes() {
		c.must(node.start())
	}
	for _, node := range c.nodes() {
		c.eventually(node.name()+" to answer", func() bool { return c.ask(node, "GET", "/ping", nil, nil) == nil })
	}
	for _, q := range c.daemons {
		c.createTopic(q, orders)
	}
	c.world = newWorld()
	return c
}

// seed is SEED, for the repetition of a run, or else a new one.
func seed(t *testing.T) uint64 {
	s := rand.Uint64()
	if text := os.Getenv("SEED"); text != "" {
		var err error
		if s, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("SEED: %v", err)
		}
	}
	t.Logf("SEED=%d", s)
	return s
}

func (c *cluster) makeNodes(f flags) {
	dir, err := programs()
	c.must(err)
	common := slices.Clone(f.qd) // to all qd
	for _, name := range []string{"l1", "l2"} {
		h := c.hosts[name]
		common = append(common, "--lookupd-tcp-address="+h.Address()+":"+lookupTCP)
		args := []string{"--tcp-address=" + h.Address() + ":" + lookupTCP, "--http-address=" + h.Address() + ":" + lookupHTTP}
		c.lookups = append(c.lookups, newNode(h, filepath.Join(dir, "lookupd"), lookupHTTP, c.t.TempDir(), append(args, f.lookupd...)...))
	}
	for _, name := range []string{"q1", "q2", "q3"} {
		h := c.hosts[name]
		args := []string{"--tcp-address=" + h.Address() + ":" + qdTCP, "--http-address=" + h.Address() + ":" + qdHTTP, "--data-path=."}
		c.daemons = append(c.daemons, newNode(h, filepath.Join(dir, "qd"), qdHTTP, c.t.TempDir(), append(args, common...)...))
	}
}

// createTopic creates a topic with its channels on one daemon.
func (c *cluster) createTopic(q *node, topic string) {
	c.t.Helper()
	c.must(c.ask(q, "POST", "/topic/create?topic="+topic, nil, nil))
	for _, name := range channelNames {
		c.must(c.ask(q, "POST", "/channel/create?topic="+topic+"&channel="+name, nil, nil))
	}
}

func (c *cluster) nodes() []*node { return slices.Concat(c.lookups, c.daemons) }

// node returns the daemon called name, or nil.
func (c *cluster) node(name string) *node {
	for _, n := range c.nodes() {
		if n.name() == name {
			return n
		}
	}
	return nil
}

// tcp is a qd's address for clients.
func tcp(q *node) string { return q.host.Address() + ":" + qdTCP }

// ask asks within the test's time.
func (c *cluster) ask(n *node, method, path string, body []byte, into any) error {
	return n.ask(c.t.Context(), method, path, body, into)
}

// background runs f until the test ends.
func (c *cluster) background(f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f(ctx) }()
	c.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			c.t.Error(err)
		}
	})
}

// showNodes kills what is left, and says what the daemons have said if the test
// has failed.
func (c *cluster) showNodes() {
	for _, n := range c.nodes() {
		if cmd, exited := n.running(); cmd != nil {
			_ = cmd.Process.Kill()
			<-exited
		}
		if c.t.Failed() {
			c.t.Logf("%s said last\n%s", n.name(), n.said.String())
		}
	}
	if c.t.Failed() {
		c.t.Logf("SEED=%d has the same faults again", c.seed)
	}
}

func (c *cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// eventually waits until done. Other processes' states can only be asked for, so
// this asks again and again; what names what is waited for.
func (c *cluster) eventually(what string, done func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(patience); !done(); {
		if time.Now().After(deadline) {
			c.t.Fatalf("waited %v for %s", patience, what)
		}
		pause(c.t.Context(), 20*time.Millisecond)
	}
}

// pause waits for d and reports true, or false once ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// finish ends the run: writers stop, everything is drained, and the books are
// audited; then every daemon stops in order.
func (c *cluster) finish(stopWriters, stopReaders func()) {
	c.t.Helper()
	c.settle()
	stopWriters()
	for _, q := range c.daemons {
		c.eventually(q.name()+" to be drained", func() bool { return c.drained(q) })
	}
	c.stopWatching()
	stopReaders()
	for _, n := range slices.Backward(c.nodes()) {
		if err := n.stop(); err != nil {
			c.t.Error(err)
		}
	}
	summary, faults := c.books.audit()
	passed, lost := c.network.Counts()
	c.t.Logf("%s; %d packets passed on, %d lost", summary, passed, lost)
	for _, r := range records(c.promises) {
		c.t.Logf("%s: after %v at the latest (%s); lost %d times without a fault", r.kind, r.slowest.Round(time.Millisecond), r.of, r.lapses)
	}
	if len(faults) > 0 {
		c.t.Errorf("%d promises were broken:\n%s", len(faults), few(faults))
	}
}

// drained reports whether a qd has no message left.
func (c *cluster) drained(q *node) bool {
	var answer struct {
		Topics []struct {
			Depth    int `json:"depth"`
			Channels []struct {
				Depth    int `json:"depth"`
				InFlight int `json:"in_flight_count"`
				Deferred int `json:"deferred_count"`
			} `json:"channels"`
		} `json:"topics"`
	}
	if c.ask(q, "GET", "/stats?format=json", nil, &answer) != nil {
		return false
	}
	left := 0
	for _, t := range answer.Topics {
		left += t.Depth
		for _, ch := range t.Channels {
			left += ch.Depth + ch.InFlight + ch.Deferred
		}
	}
	return left == 0
}
