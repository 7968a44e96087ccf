package millrace

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// lookupd answers /lookup with what it was given.
type lookupd struct {
	server *http.Server
	mu     sync.Mutex
	nodes  []string // host:port; nil: the topic is unknown
	asked  int
}

func startLookupd(t *testing.T, l net.Listener, nodes ...string) *lookupd {
	d := &lookupd{nodes: nodes}
	d.server = &http.Server{Handler: d}
	done := make(chan struct{})
	go func() { defer close(done); _ = d.server.Serve(l) }()
	t.Cleanup(func() { _ = d.server.Close(); <-done })
	return d
}

func (d *lookupd) list(nodes ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.nodes = nodes
}

func (d *lookupd) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	if r.URL.Path != "/lookup" || r.URL.Query().Get("topic") != "t" {
		http.Error(w, "wrong question", http.StatusBadRequest)
		return
	}
	if d.nodes == nil {
		http.Error(w, `{"message":"TOPIC_NOT_FOUND"}`, http.StatusNotFound)
		return
	}
	var producers []string
	for _, n := range d.nodes {
		host, port, _ := net.SplitHostPort(n)
		producers = append(producers, fmt.Sprintf(`{"broadcast_address":%q,"tcp_port":%s,"http_port":1}`, host, port))
	}
	fmt.Fprintf(w, `{"channels":[],"producers":[%s]}`, strings.Join(producers, ","))
}

func TestDiscovery(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		one, two := startBroker(t, n.listen("q:1")), startBroker(t, n.listen("q:2"))
		one.put("t", "a")
		two.put("t", "b")
		first := startLookupd(t, n.listen("l:1"), "q:1", "dead:9")
		startLookupd(t, n.listen("l:2"), "q:1", "q:2")
		var rec recorder
		r := startReader(t, n, ReaderConfig{Lookupds: []string{"l:1", "http://l:2/", "down:1"}, Handler: &rec})
		pass(time.Second)
		want(t, "handled", len(rec.got()), 2)
		want(t, "connections", r.Stats().Connections, 2)
		want(t, "daemons", r.Daemons(), 3)
		want(t, "connections to the one listed twice", n.dialled("q:1"), 1)

		// No longer listed, a daemon keeps its connection, and is forgotten
		// when that ends; one that comes is found.
		first.list("q:3")
		startBroker(t, n.listen("q:3")).put("t", "c")
		pass(67 * time.Second)
		want(t, "handled", len(rec.got()), 3)
		tries := n.dialled("dead:9")
		want(t, "the dead one was tried", tries > 1, true)
		two.stop()
		pass(time.Hour)
		want(t, "the dead one is tried no more", n.dialled("dead:9"), tries)
		want(t, "the second is still listed and tried", n.dialled("q:2") > 300, true)
		want(t, "first asked about once a minute", first.asked > 50 && first.asked < 75, true)
	})
}

func TestDiscoveryRemembersWhatADeadLookupdSaid(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := newBroker(t)
		b.start(n.listen("q:1"))
		l := startLookupd(t, n.listen("l:1"), "q:1")
		var rec recorder
		startReader(t, n, ReaderConfig{Lookupds: []string{"l:1"}, Handler: &rec})
		pass(time.Second)
		_ = l.server.Close()
		b.stop()
		pass(10 * time.Minute)
		b.put("t", "x")
		b.start(n.listen("q:1"))
		t.Cleanup(b.stop)
		pass(15 * time.Second)
		want(t, "handled", rec.got(), []string{"x"})
	})
}

func TestDiscoveryOfATopicThatNeverComes(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		l := startLookupd(t, n.listen("l:1"))
		var rec recorder
		startReader(t, n, ReaderConfig{Lookupds: []string{"l:1"}, Handler: &rec})
		pass(5 * time.Hour) // longer than a doubled pause takes to overflow
		want(t, "asked about once a minute", l.asked > 250 && l.asked < 350, true)
	})
}

func TestDiscoveryOfATopicToCome(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		l := startLookupd(t, n.listen("l:1"))
		var rec recorder
		startReader(t, n, ReaderConfig{Lookupds: []string{"l:1"}, Handler: &rec})
		pass(500 * time.Millisecond)
		b.put("t", "x")
		l.list("q:1")
		pass(2 * time.Second)
		want(t, "handled", rec.got(), []string{"x"})
	})
}

// TestADaemonThatIsAwayIsSaidOnce looks at what an operator reads after an hour
// without a daemon, and again when one has come and gone.
func TestADaemonThatIsAwayIsSaidOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		var said strings.Builder
		log := slog.New(slog.NewTextHandler(&said, nil))
		var rec recorder
		r := startReader(t, n, ReaderConfig{Addresses: []string{"q:1"}, Handler: &rec, Connection: Connection{Log: log}})
		pass(time.Hour)
		b := newBroker(t)
		b.start(n.listen("q:1"))
		pass(time.Minute)
		b.stop()
		pass(time.Hour)
		r.stop()
		var got []string
		for line := range strings.Lines(said.String()) {
			_, rest, _ := strings.Cut(line, "msg=")
			got = append(got, strings.Trim(rest[:strings.Index(rest, " topic=t channel=c")], `"`))
		}
		want(t, "said", got, []string{"cannot connect, trying again", "subscribed", "connection lost, trying again"})
	})
}

// TestMoreDaemonsThanCredit checks that every daemon with a backlog gets its
// turn, soon. A daemon may send a message before it hears that its credit moved
// on, so that up to twice the credit can be in flight.
func TestMoreDaemonsThanCredit(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		var addresses []string
		var brokers []*broker
		for i := range 10 {
			addresses = append(addresses, fmt.Sprintf("q:%d", i+1))
			b := startBroker(t, n.listen(addresses[i]))
			brokers = append(brokers, b)
			if i != 4 { // one has nothing and must not hold credit
				b.put("t", numbered(20000)...)
			}
		}
		var rec recorder
		r := startReader(t, n, ReaderConfig{Addresses: addresses, MaxInFlight: 3, Handler: HandlerFunc(slowly(&rec))})
		most := 0
		for range 1000 {
			pass(time.Millisecond)
			most = max(most, r.Stats().InFlight)
		}
		if most < 3 || most > 6 {
			t.Errorf("up to %d in flight", most)
		}
		for i, b := range brokers {
			if n := len(b.finishedBodies()); i != 4 && n < 100 {
				t.Errorf("daemon %d delivered %d in a second", i, n)
			}
		}
	})
}

// slowly is h with 100 µs more, by the bubble's clock.
func slowly(h Handler) HandlerFunc {
	return func(ctx context.Context, m *Message) error {
		time.Sleep(100 * time.Microsecond)
		return h.Handle(ctx, m)
	}
}
