package millrace

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// cluster is many brokers, and when each message was taken.
type cluster struct {
	brokers   []*broker
	addresses []string

	mu     sync.Mutex
	taken  map[string]time.Time // by address and body
	counts []int
}

func startCluster(t *testing.T, n *pipeNet, size int) *cluster {
	c := &cluster{taken: map[string]time.Time{}, counts: make([]int, size)}
	for i := range size {
		address := fmt.Sprintf("q:%d", i)
		c.brokers = append(c.brokers, startBroker(t, n.listen(address)))
		c.addresses = append(c.addresses, address)
	}
	return c
}

// handler takes as long as is said for each message. Only one must run at once.
func (c *cluster) handler(takes time.Duration) Handler {
	return HandlerFunc(func(_ context.Context, m *Message) error {
		var i int
		_, _ = fmt.Sscanf(m.Address, "q:%d", &i)
		c.mu.Lock()
		c.counts[i]++
		c.taken[m.Address+" "+string(m.Body)] = time.Now()
		c.mu.Unlock()
		time.Sleep(takes)
		return nil
	})
}

// from is how many messages of a daemon were taken.
func (c *cluster) from(daemon int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts[daemon]
}

// since is how many messages were taken since then, and how long after that the last was.
func (c *cluster) since(then time.Time) (n int, last time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, at := range c.taken {
		if took := at.Sub(then); took >= 0 {
			n++
			last = max(last, took)
		}
	}
	return n, last
}

// rdys counts the RDY commands that brokers have been told.
func (c *cluster) rdys() (n int) {
	for _, b := range c.brokers {
		b.each(func(s *session) {
			for _, command := range s.commands {
				if strings.HasPrefix(command, "RDY") {
					n++
				}
			}
		})
	}
	return n
}

// TestTwentyDaemonsOneInFlight: every message of every daemon is taken within two
// seconds, whether all daemons have some or only few do.
func TestTwentyDaemonsOneInFlight(t *testing.T) {
	for _, takes := range []time.Duration{0, 3 * time.Millisecond} {
		t.Run(takes.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *pipeNet) {
				c := startCluster(t, n, 20)
				startReader(t, n, ReaderConfig{Addresses: c.addresses, MaxInFlight: 1, Handler: c.handler(takes)})
				pass(3 * time.Second)
				round := 0
				check := func(what string, messages int, daemons ...int) {
					t.Helper()
					round++
					began, wanted := time.Now(), 0
					for _, i := range daemons {
						for k := range messages {
							c.brokers[i].put("t", fmt.Sprintf("%d.%d", round, k))
							wanted++
						}
					}
					pass(2 * time.Second)
					if n, last := c.since(began); n != wanted || last > 1500*time.Millisecond {
						t.Errorf("%s: %d of %d were taken, the last one after %v", what, n, wanted, last)
					}
				}
				all := make([]int, 20)
				for i := range all {
					all[i] = i
				}
				check("one for each", 1, all...)
				check("many for each", 15, all...)
				check("one for one", 1, 13)
				check("many for two", 50, 4, 5)
				check("many for one", 100, 19)
				for _, b := range c.brokers {
					want(t, "most in flight", b.maxOut, 1)
				}
			})
		})
	}
}

// TestABacklogDoesNotStarveOthers has one daemon with a backlog that never ends, and
// others with a message now and then; one credit for all.
func TestABacklogDoesNotStarveOthers(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		c := startCluster(t, n, 20)
		c.brokers[7].put("t", numbered(60000)...)
		startReader(t, n, ReaderConfig{Addresses: c.addresses, MaxInFlight: 1, Handler: c.handler(time.Millisecond)})
		pass(time.Second)
		for i := range 60 {
			began := time.Now()
			daemon := (i*7 + 1) % 20
			body := fmt.Sprintf("now and then %d", i)
			before := c.from(daemon)
			c.brokers[daemon].put("t", body)
			for daemon != 7 && c.from(daemon) == before {
				if pass(10 * time.Millisecond); time.Since(began) > 2*time.Second {
					t.Fatalf("message %d of daemon %d was not taken in %v", i, daemon, time.Since(began))
				}
			}
		}
		before := c.from(7)
		pass(10 * time.Second)
		if n := c.from(7) - before; n < 5000 {
			t.Errorf("%d of the backlog were taken in ten seconds: most of the time went to those that have nothing", n)
		}
	})
}

// TestAThousandDaemons with ten credits: a message is taken within two seconds, and
// looking for it costs little.
func TestAThousandDaemons(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		c := startCluster(t, n, 1000)
		r := startReader(t, n, ReaderConfig{Addresses: c.addresses, MaxInFlight: 10, Handler: c.handler(time.Millisecond)})
		pass(2 * time.Second)
		want(t, "connections", r.Stats().Connections, 1000)
		for i := range 5 {
			began := time.Now()
			c.brokers[i*97].put("t", "x")
			for c.from(i*97) == 0 {
				pass(20 * time.Millisecond)
				if time.Since(began) > 2*time.Second {
					t.Fatalf("daemon %d's message was not taken in %v", i*97, time.Since(began))
				}
			}
		}
		before := c.rdys()
		pass(3 * time.Second)
		if rdys := c.rdys() - before; rdys > 7500 {
			t.Errorf("%d RDY in three idle seconds", rdys)
		}
	})
}

// TestUnevenBacklogs: of 20 daemons with 200 credits one has everything, and gets
// nearly all of them at once; when another has traffic, it gets half as soon.
func TestUnevenBacklogs(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		c := startCluster(t, n, 20)
		r := startReader(t, n, ReaderConfig{Addresses: c.addresses, MaxInFlight: 200, Handler: c.handler(100 * time.Microsecond)})
		pass(time.Second)
		ready := func(i int) (n int) {
			c.brokers[i].each(func(s *session) { n = s.ready })
			return n
		}
		want(t, "when all are idle", []int{ready(0), ready(19)}, []int{10, 10})
		idle := c.rdys()
		pass(time.Hour)
		want(t, "RDYs in an idle hour", c.rdys()-idle, 0)

		c.brokers[3].put("t", numbered(100000)...)
		pass(20 * time.Millisecond)
		want(t, "one has all the traffic", []int{ready(3), ready(0)}, []int{181, 1})
		most := 0
		for range 100 {
			pass(time.Millisecond)
			most = max(most, r.Stats().InFlight)
		}
		if most < 150 || most > 200 {
			t.Errorf("up to %d in flight", most)
		}

		c.brokers[5].put("t", numbered(100000)...)
		pass(100 * time.Millisecond)
		want(t, "two have", []int{ready(3), ready(5), ready(0)}, []int{91, 91, 1})
		for _, b := range c.brokers {
			b.mu.Lock()
			b.queue["t"] = nil
			b.mu.Unlock()
		}
		pass(time.Second)
		c.brokers[8].put("t", numbered(100000)...)
		pass(100 * time.Millisecond)
		want(t, "those that had are idle", []int{ready(8), ready(3), ready(5)}, []int{181, 1, 1})
	})
}

// TestHandlersThatTakeLong hold credit, and with it the turn, until they answer.
func TestHandlersThatTakeLong(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		c := startCluster(t, n, 6)
		for _, b := range c.brokers {
			b.put("t", numbered(100)...)
		}
		r := startReader(t, n, ReaderConfig{Addresses: c.addresses, MaxInFlight: 2, Handler: c.handler(time.Second)})
		most := 0
		for range 600 {
			pass(100 * time.Millisecond)
			most = max(most, r.Stats().InFlight)
		}
		if most > 4 { // a daemon may send before it hears that its credit has gone
			t.Errorf("up to %d in flight", most)
		}
		for i, n := range c.counts {
			if n < 8 || n > 12 {
				t.Errorf("daemon %d had %d of 60", i, n)
			}
		}
	})
}

// TestForgottenMessages: what nobody ever answers is taken back by its daemon, and must
// not keep credit from the others for longer than that.
func TestForgottenMessages(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		var brokers []*broker
		for i := range 2 {
			b := newBroker(t)
			b.msgTimeout = 10 * time.Second
			b.start(n.listen(fmt.Sprintf("q:%d", i)))
			t.Cleanup(b.stop)
			brokers = append(brokers, b)
		}
		startReader(t, n, ReaderConfig{Addresses: []string{"q:0", "q:1"}, MaxInFlight: 1, ShutdownTimeout: time.Second, Handler: HandlerFunc(func(_ context.Context, m *Message) error {
			if m.Attempts == 1 && string(m.Body) == "forgotten" {
				return ErrAnswerLater
			}
			return nil
		})})
		pass(time.Second)
		brokers[0].put("t", "forgotten")
		pass(2 * time.Second)
		brokers[1].put("t", "x")
		pass(10 * time.Second)
		want(t, "of the other", brokers[1].finishedBodies(), []string{"x"})
		pass(time.Second)
		want(t, "of the one", brokers[0].finishedBodies(), []string{"forgotten"})
	})
}

// TestTheDaemonsLimit: a daemon that takes few leaves its part to others.
func TestTheDaemonsLimit(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		c := startCluster(t, n, 1)
		small := newBroker(t)
		small.maxRdy = 7
		small.intercept = func(_ *session, l protocol.Line, _ []byte) bool {
			if l.Verb == protocol.Rdy && len(l.Args[0]) > 1 {
				t.Errorf("RDY %s", l.Args[0])
			}
			return false
		}
		small.start(n.listen("small:1"))
		t.Cleanup(small.stop)
		startReader(t, n, ReaderConfig{Addresses: []string{"small:1", "q:0"}, MaxInFlight: 100, Handler: &recorder{}})
		pass(time.Second)
		c.brokers[0].each(func(s *session) { want(t, "credit of the other", s.ready, 93) })
	})
}
