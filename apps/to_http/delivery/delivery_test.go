package delivery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/apps/to_http/endpoint"
	"github.com/millrace-mq/millrace/apps/to_http/pool"
	millrace "github.com/millrace-mq/millrace/clients/go"
	"github.com/millrace-mq/millrace/internal/logtest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is an endpoint whose answer depends on what it is sent.
type server struct {
	name   string
	answer func(body string) endpoint.Result // nil takes all

	mu      sync.Mutex // guards below
	bodies  []string
	headers []http.Header
}

func (s *server) Name() string { return s.name }

func (s *server) Send(_ context.Context, h http.Header, body []byte) endpoint.Result {
	s.mu.Lock()
	s.bodies, s.headers = append(s.bodies, string(body)), append(s.headers, h)
	answer := s.answer
	s.mu.Unlock()
	if answer == nil {
		return endpoint.Result{Outcome: endpoint.Taken}
	}
	return answer(string(body))
}

// take returns what came since the last time.
func (s *server) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	came := strings.Join(s.bodies, "|")
	s.bodies = nil
	return came
}

func (s *server) now(answer func(string) endpoint.Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

var (
	takes  = func(string) endpoint.Result { return endpoint.Result{Outcome: endpoint.Taken} }
	fails  = func(string) endpoint.Result { return endpoint.Result{Err: errors.New("it fails")} }
	closed = func(string) endpoint.Result {
		return endpoint.Result{Outcome: endpoint.Refused, Err: errors.New("nobody may")}
	}
	busy = func(string) endpoint.Result {
		return endpoint.Result{Err: errors.New("too many"), RetryAfter: 9 * time.Second}
	}
	picky = func(body string) endpoint.Result { // refuses what has something bad in it
		if strings.Contains(body, "bad") {
			return endpoint.Result{Outcome: endpoint.Refused, About: true, Err: errors.New("it is bad")}
		}
		return takes(body)
	}
)

// rig is a Delivery to some servers, with messages that go there.
type rig struct {
	*Delivery
	servers []*server
	logged  logtest.Lines
	stop    chan struct{}
}

func newRig(mode pool.Mode, f Format, answers ...func(string) endpoint.Result) *rig {
	g := &rig{stop: make(chan struct{})}
	c := Config{Mode: mode, Format: f, Headers: true, Random: func() float64 { return 1 }, Log: slog.New(slog.NewTextHandler(&g.logged, nil))}
	for i, a := range answers {
		s := &server{name: fmt.Sprint("server", i), answer: a}
		g.servers = append(g.servers, s)
		c.Endpoints = append(c.Endpoints, s)
	}
	g.Delivery = New(c)
	return g
}

// message is one whose ID follows from its body.
func message(body string) *millrace.Message {
	m := &millrace.Message{Timestamp: time.Unix(1, 7), Attempts: 3, Body: []byte(body), Address: "q:1"}
	copy(m.ID[:], body+"................")
	return m
}

// send delivers bodies, and tells the verdicts: + taken, - refused, ? failed, with how
// long the endpoints want to be left alone.
func (g *rig) send(bodies ...string) (verdicts string, trouble error) {
	var messages []*millrace.Message
	for _, b := range bodies {
		messages = append(messages, message(b))
	}
	all, trouble := g.Deliver(context.Background(), Source{Topic: "t", Channel: "c", Stopping: g.stop}, messages)
	for _, v := range all {
		if (v.Outcome == endpoint.Taken) != (v.Err == nil) {
			verdicts += "!"
		}
		verdicts += map[endpoint.Outcome]string{endpoint.Taken: "+", endpoint.Refused: "-", endpoint.Failed: "?"}[v.Outcome]
		if v.RetryAfter > 0 {
			verdicts += v.RetryAfter.String()
		}
	}
	return verdicts, trouble
}

func (g *rig) came() (all []string) {
	for _, s := range g.servers {
		all = append(all, s.take())
	}
	return all
}

// check sends bodies and wants these verdicts, and what then has come to each server.
func (g *rig) check(t *testing.T, verdicts string, down bool, bodies []string, came ...string) {
	t.Helper()
	got, trouble := g.send(bodies...)
	if got != verdicts || (trouble != nil) != down {
		t.Errorf("%q: verdicts %q, trouble %v; want %q, trouble %v", bodies, got, trouble, verdicts, down)
	}
	if have := g.came(); !slices.Equal(have, came) {
		t.Errorf("%q: came %q, want %q", bodies, have, came)
	}
}

func one(body string) []string { return []string{body} }

func TestOneOfSeveral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(pool.HostPool, Raw, takes, takes)
		g.check(t, "+", false, one("a"), "a", "")
		g.check(t, "+", false, one("b"), "", "b")

		// What one fails to take, the other gets, and after three times it alone.
		g.servers[0].now(fails)
		g.check(t, "+", false, one("c"), "c", "c")
		g.check(t, "+", false, one("d"), "d", "d")
		g.check(t, "+", false, one("e"), "e", "e")
		g.check(t, "+", false, one("f"), "", "f")

		// It is asked again, and is good.
		time.Sleep(2 * time.Second)
		g.servers[0].now(takes)
		g.check(t, "+", false, one("g"), "g", "")
		g.check(t, "+", false, one("h"), "", "h")
		g.check(t, "+", false, one("i"), "i", "")
		if log := g.logged.String(); strings.Count(log, "left alone") != 1 || strings.Count(log, "answers again") != 1 {
			t.Errorf("logged:\n%s", log)
		}
	})
}

// Refused by one means refused: the next would be asked the same.
func TestRefusedIsNotTriedElsewhere(t *testing.T) {
	g := newRig(pool.RoundRobin, Raw, closed, takes)
	g.check(t, "-", false, one("a"), "a", "")
	g.check(t, "+", false, one("b"), "", "b")
}

// When nobody takes anything, whoever sends is told to wait; a message that one alone
// cannot digest is no reason.
func TestDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(pool.HostPool, Raw, fails, fails)
		g.check(t, "?", false, one("a"), "a", "a")
		g.check(t, "?", false, one("b"), "b", "b")
		g.check(t, "?", true, one("c"), "c", "c")
		g.check(t, "?", true, one("d"), "d", "")
		time.Sleep(time.Second)
		g.servers[0].now(takes)
		g.check(t, "+", false, one("e"), "e", "")
	})
}

func TestLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(pool.HostPool, Raw, busy, takes)
		g.check(t, "+", false, one("a"), "a", "a")
		g.check(t, "+", false, one("b"), "", "b")
		g.servers[1].now(busy)
		time.Sleep(5 * time.Second)
		g.check(t, "?4s", true, one("c"), "", "c") // until the first of them can be asked
		g.check(t, "?4s", true, one("d"), "", "")
		time.Sleep(4 * time.Second)
		g.servers[0].now(takes)
		g.check(t, "+", false, one("e"), "e", "")
	})
}

// A batch is halved until what is bad in it is found.
func TestBatchWithSomethingBad(t *testing.T) {
	g := newRig(pool.HostPool, Newline, picky)
	g.check(t, "++++", false, []string{"1", "2", "3", "4"}, "1\n2\n3\n4\n")
	g.check(t, "++-+", false, []string{"1", "2", "bad", "4"}, "1\n2\nbad\n4\n|1\n2\n|bad\n4\n|bad\n|4\n")
	g.check(t, "--", false, []string{"bad1", "bad2"}, "bad1\nbad2\n|bad1\n|bad2\n")
	g.check(t, "-", false, []string{"bad"}, "bad\n")
}

// That nobody may post is not about the messages.
func TestBatchThatNobodyMayPost(t *testing.T) {
	g := newRig(pool.HostPool, Newline, closed)
	g.check(t, "---", false, []string{"1", "2", "3"}, "1\n2\n3\n")
}

// An endpoint that breaks down while a batch is halved is asked no more; the next gets
// what has no verdict yet.
func TestBatchWhenAnEndpointBreaksDown(t *testing.T) {
	g := newRig(pool.RoundRobin, Newline, nil, takes)
	g.servers[0].now(func(body string) endpoint.Result {
		if body == "2\n" {
			return fails(body)
		}
		return picky(body)
	})
	g.check(t, "-+++", false, []string{"bad", "2", "3", "4"}, "bad\n2\n3\n4\n|bad\n2\n|bad\n|2\n", "2\n3\n4\n")
}

func TestStopping(t *testing.T) {
	g := newRig(pool.HostPool, Newline, fails, takes)
	close(g.stop)
	g.check(t, "??", false, []string{"a", "b"}, "a\nb\n", "")
	g = newRig(pool.HostPool, Newline, picky)
	close(g.stop)
	g.check(t, "??", false, []string{"a", "bad"}, "a\nbad\n")

	// While a batch is halved, too: each request may take as long as Run has to end.
	g = newRig(pool.HostPool, Newline, nil)
	g.servers[0].now(func(body string) endpoint.Result {
		if body == "a\n" {
			close(g.stop)
		}
		return picky(body)
	})
	g.check(t, "+?", false, []string{"a", "bad"}, "a\nbad\n|a\n")
}

func TestAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(pool.All, Raw, takes, takes, takes)
		g.check(t, "+", false, one("a"), "a", "a", "a")

		// Who has it gets it no more.
		g.servers[1].now(fails)
		g.check(t, "?", false, one("b"), "b", "b", "b")
		g.check(t, "?", false, one("b"), "", "b", "")
		g.check(t, "?", true, one("b"), "", "b", "")
		g.servers[1].now(takes)
		g.check(t, "+", false, one("b"), "", "b", "")

		// A message that is done with is forgotten: another with its ID is another.
		g.check(t, "+", false, one("b"), "b", "b", "b")

		// One refuses: that is known when the others have it.
		g.servers[0].now(closed)
		g.servers[1].now(fails)
		g.check(t, "?", false, one("c"), "c", "c", "c")
		g.servers[1].now(takes)
		g.check(t, "-", false, one("c"), "", "c", "")

		// If it comes again all the same, who has it does not get it twice.
		g.check(t, "-", false, one("c"), "c", "", "")
		g.servers[0].now(takes)
		g.check(t, "+", false, one("c"), "c", "", "")
		g.servers[0].now(closed)
		g.check(t, "-", false, one("e"), "e", "e", "e")
		g.Forget("t", message("e"))
		g.check(t, "-", false, one("e"), "e", "e", "e")
		g.Forget("t", message("e"))

		// One wants to be left alone: the message waits for it.
		g.servers[0].now(takes)
		g.servers[2].now(busy)
		g.check(t, "?9s", true, one("d"), "d", "d", "d")
		g.check(t, "?9s", true, one("d"), "", "", "")
		time.Sleep(9 * time.Second)
		g.servers[2].now(takes)
		g.check(t, "+", false, one("d"), "", "", "d")
		if n := len(g.progress.states) + g.progress.oldest.Len(); n != 0 {
			t.Errorf("%d are remembered", n)
		}
	})
}

// What one has refused is not done with while another has yet to take it, whichever comes
// first, and it waits for the one that asks for most.
func TestAllDisagree(t *testing.T) {
	for _, answers := range [][]func(string) endpoint.Result{{closed, fails, takes}, {fails, takes, closed}, {takes, closed, fails}} {
		g := newRig(pool.All, Raw, answers...)
		if verdict, _ := g.send("a"); verdict != "?" {
			t.Errorf("verdict %q", verdict)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		g := newRig(pool.All, Raw, fails, busy, fails)
		g.check(t, "?9s", true, one("a"), "a", "a", "a")
		if log := g.logged.String(); strings.Count(log, "left alone") != 1 || !strings.Contains(log, "retry_in=9s") {
			t.Errorf("logged:\n%s", log)
		}
	})
}

// A request that we have given up says nothing of its endpoint.
func TestGivenUp(t *testing.T) {
	g := newRig(pool.HostPool, Raw, fails)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 5 {
		all, trouble := g.Deliver(ctx, Source{Topic: "t", Stopping: g.stop}, []*millrace.Message{message("a")})
		if all[0].Outcome != endpoint.Failed || trouble != nil {
			t.Errorf("%+v, %v", all, trouble)
		}
	}
	if log := g.logged.String(); log != "" {
		t.Errorf("logged:\n%s", log)
	}
}

// Of a batch, each endpoint gets what it has not.
func TestBatchesToAll(t *testing.T) {
	g := newRig(pool.All, Newline, picky, fails)
	g.check(t, "??", false, []string{"1", "bad"}, "1\nbad\n|1\n|bad\n", "1\nbad\n")
	g.servers[1].now(takes)
	g.check(t, "-+", false, []string{"bad", "3"}, "3\n", "bad\n3\n")
	g.check(t, "++", false, []string{"1", "4"}, "4\n", "1\n4\n")
}

// What is remembered is bounded; the oldest goes first.
func TestRememberedIsBounded(t *testing.T) {
	var p progress
	at := func(n int) key {
		k := key{topic: "t"}
		copy(k.id[:], fmt.Sprintf("%016d", n))
		return k
	}
	for n := range maxRemembered + 1 {
		p.keep(at(n), &state{by: make([]Verdict, 1)})
	}
	p.keep(at(1), &state{by: []Verdict{{RetryAfter: 1}}}) // the newest now
	p.keep(at(maxRemembered+1), &state{by: make([]Verdict, 1)})
	if len(p.states) != maxRemembered || p.oldest.Len() != maxRemembered {
		t.Errorf("%d are remembered", len(p.states))
	}
	for n, known := range map[int]bool{0: false, 1: true, 2: false, 3: true, maxRemembered: true} {
		if _, ok := p.states[at(n)]; ok != known {
			t.Errorf("message %d: known %v, want %v", n, ok, known)
		}
	}
	if p.take(at(1), 1).by[0].RetryAfter != 1 {
		t.Error("the older state was kept")
	}
}

func TestManyAtOnce(t *testing.T) {
	for _, mode := range []pool.Mode{pool.HostPool, pool.All} {
		g := newRig(mode, Raw, takes, fails, takes)
		var wg sync.WaitGroup
		for n := range 200 {
			wg.Go(func() {
				if v, _ := g.send(fmt.Sprint(n)); (v == "+") != (mode == pool.HostPool) {
					t.Errorf("mode %d: %s", mode, v)
				}
			})
		}
		wg.Wait()
	}
}
