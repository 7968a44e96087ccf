package cluster_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/cluster"
	"github.com/millrace-mq/millrace/admin/cluster/clustertest"
)

func TestGetAndPost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := clustertest.NewFleet(t, clustertest.InMemory(), clustertest.Topics(1))
		c, n := f.Cluster(t), f.Nodes[0]

		q := url.Values{"topic": {clustertest.TopicName(0)}, "reason": {"a & b; c"}}
		if err := c.Post(t.Context(), n.Address(), "/topic/pause", q, nil, nil); err != nil {
			t.Fatal(err)
		}
		n.Change(func(d *clustertest.Daemon) {
			if p := d.Topic(clustertest.TopicName(0)); !p.Paused || p.Pause.Reason != "a & b; c" {
				t.Errorf("paused %v, because %q", p.Paused, p.Pause.Reason)
			}
		})
		var text string
		if err := c.Get(t.Context(), n.Address(), "/ping", nil, &text); err != nil || text != "OK" {
			t.Errorf("/ping: %q, %v", text, err)
		}
		var info struct {
			Port int `json:"http_port"`
		}
		if err := c.Get(t.Context(), n.Address(), "/info", nil, &info); err != nil || info.Port != 4151 {
			t.Errorf("/info: %v, %v", info, err)
		}
	})
}

// 64 bits come through whole.
func TestNumbers(t *testing.T) {
	f := clustertest.NewFleet(t)
	f.Nodes[0].Answer(200, `{"n":18446744073709551615,"i":-9223372036854775808}`)
	var v struct {
		N uint64
		I int64
	}
	if err := f.Cluster(t).Get(t.Context(), f.Nodes[0].Address(), "/stats", nil, &v); err != nil || v.N != 1<<64-1 || v.I != -1<<63 {
		t.Errorf("%v, %v", v, err)
	}
}

// What a daemon may answer, and what is said of it.
func TestAnswers(t *testing.T) {
	var object struct{ Topics []string }
	tests := []struct {
		name   string
		answer func(*clustertest.Node)
		say    string // must be in the error
		status int    // of a Refusal; 0: it is none
		code   string
	}{
		{"nothing", func(n *clustertest.Node) { n.Answer(200, "") }, "not what NSQ's daemons answer", 0, ""},
		{"a page", func(n *clustertest.Node) { n.Answer(200, "<html>hello</html>") }, "not what NSQ's daemons answer", 0, ""},
		{"another type", func(n *clustertest.Node) { n.Answer(200, `{"topics":{"a":1}}`) }, "not what NSQ's daemons answer", 0, ""},
		{"half of it", func(n *clustertest.Node) { n.Answer(200, `{"topics":["a"`) }, "closed the connection before the end", 0, ""},
		{"without end", func(n *clustertest.Node) { n.Endless(`{"topics":[`, `"aaaaaaaa",`) }, "too long", 0, ""},
		{"one string without end", func(n *clustertest.Node) { n.Endless(`{"topics":["`, `a`) }, "too long", 0, ""},
		{"objects that are nothing", func(n *clustertest.Node) {
			n.Answer(200, `{"topics":[`+strings.Repeat("{},", 1_000_001)+`{}]}`)
		}, "more in it than", 0, ""},
		{"names that are nothing", func(n *clustertest.Node) { n.Endless(`{"topics":[`, `"",`) }, "more in it than", 0, ""},
		{"a code", func(n *clustertest.Node) { n.Fail(404, "TOPIC_NOT_FOUND") }, "TOPIC_NOT_FOUND", 404, "TOPIC_NOT_FOUND"},
		{"a code and a sentence", func(n *clustertest.Node) { n.Fail(503, "DRAINING: it takes no more: really") }, "it takes no more: really", 503, "DRAINING"},
		{"a proxy's page", func(n *clustertest.Node) { n.Answer(502, "<html>\nBad Gateway") }, "as a proxy does", 502, ""},
		{"text", func(n *clustertest.Node) { n.Answer(500, "oh\x00 \x1b[31mno\nmore") }, "oh [31mno (status 500)", 500, ""},
		{"nothing with a status", func(n *clustertest.Node) { n.Answer(500, "") }, "refused without a word", 500, ""},
		{"a redirect", func(n *clustertest.Node) {
			n.HandlePath("", func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "http://169.254.169.254/", http.StatusFound)
			})
		}, "redirects to http://169.254.169.254/", 302, ""},
		{"no answer", func(n *clustertest.Node) { n.Hang() }, "no answer within 5s", 0, ""},
		{"hung up", func(n *clustertest.Node) { n.Down() }, "", 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := clustertest.NewFleet(t, clustertest.InMemory())
				tt.answer(f.Nodes[0])
				err := f.Cluster(t).Get(t.Context(), f.Nodes[0].Address(), "/stats", nil, &object)
				if err == nil || !strings.Contains(err.Error(), tt.say) || !strings.HasPrefix(err.Error(), "GET /stats of qd-0:4151: ") {
					t.Fatalf("got %v, want %q", err, tt.say)
				}
				if strings.Contains(cluster.Reason(err), "/stats of") {
					t.Errorf("the reason names the request: %s", cluster.Reason(err))
				}
				r, refused := errors.AsType[*cluster.Refusal](err)
				if refused != (tt.status != 0) {
					t.Fatalf("a refusal: %v, for %v", refused, err)
				}
				if refused && (r.Status != tt.status || r.Code != tt.code) {
					t.Errorf("refusal %d %q, want %d %q", r.Status, r.Code, tt.status, tt.code)
				}
			})
		})
	}
}

// What stands in a daemon's place and answers 200 to everything has changed nothing.
func TestChangeAnsweredWithAPage(t *testing.T) {
	f := clustertest.NewFleet(t, clustertest.InMemory())
	post := func() error {
		return f.Cluster(t).Post(t.Context(), f.Nodes[0].Address(), "/topic/delete", url.Values{"topic": {"t"}}, nil, nil)
	}
	for _, answer := range []string{"", "OK", `{"count":1}`} {
		f.Nodes[0].Answer(200, answer)
		if err := post(); err != nil {
			t.Errorf("%q: %v", answer, err)
		}
	}
	f.Nodes[0].Answer(200, "\n<!DOCTYPE html><title>Welcome</title>")
	if err := post(); err == nil || !strings.Contains(err.Error(), "as a proxy does") {
		t.Errorf("a page: %v", err)
	}
}

// A deadline of the caller's takes the place of the usual one: longer, too.
func TestOwnDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := clustertest.NewFleet(t, clustertest.InMemory())
		f.Nodes[0].Slow("", 20*time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := f.Cluster(t).Get(ctx, f.Nodes[0].Address(), "/info", nil, nil); err != nil {
			t.Error(err)
		}
		began := time.Now()
		if err := f.Cluster(t).Get(t.Context(), f.Nodes[0].Address(), "/info", nil, nil); err == nil || time.Since(began) != 5*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// One connection serves all requests, those that are refused too.
func TestKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := clustertest.NewFleet(t, clustertest.InMemory())
		s := f.Settings()
		var dialled atomic.Int32
		dial := s.Dial
		s.Dial = countDials(dial, &dialled)
		c, err := cluster.New(s, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for _, path := range []string{"/ping", "/stats", "/none", "/info"} {
			_ = c.Get(t.Context(), f.Nodes[0].Address(), path, nil, nil)
			_ = c.Post(t.Context(), f.Nodes[0].Address(), path, nil, []byte("x"), nil)
		}
		if dialled.Load() != 1 || f.Requests("") != 8 {
			t.Errorf("%d connections for %d requests", dialled.Load(), f.Requests(""))
		}
	})
}

// A token that is for TLS alone is not shown to those who have none, not even before they
// say that they have.
func TestToken(t *testing.T) {
	for _, sealed := range []bool{false, true} {
		var shown []string // one request at a time
		secure := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			shown = append(shown, "sealed "+r.Header.Get("Authorization"))
		}))
		defer secure.Close()
		_, port, _ := net.SplitHostPort(secure.Listener.Addr().String())
		plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			shown = append(shown, "clear "+r.Header.Get("Authorization"))
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"message":"TLS_REQUIRED","https_port":`+port+`}`)
		}))
		defer plain.Close()
		address := plain.Listener.Addr().String()
		c, err := cluster.New(cluster.Settings{
			Daemons: []string{address}, Token: "t", TokenSealed: sealed,
			TLS: func(string) *tls.Config { return &tls.Config{InsecureSkipVerify: true} },
		}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.Get(t.Context(), address, "/stats", nil, nil); err != nil {
			t.Error(err)
		}
		want := []string{"clear Bearer t", "sealed Bearer t"}
		if sealed {
			want[0] = "clear "
		}
		if !slices.Equal(shown, want) {
			t.Errorf("shown: %q, want %q", shown, want)
		}
	}
}

// A daemon that wants TLS is asked in clear once, and then with TLS.
func TestTLSRequired(t *testing.T) {
	var asked atomic.Int32
	sealed := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		body, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, r.Method+" "+r.URL.String()+" "+string(body))
	}))
	defer sealed.Close()
	_, port, _ := strings.Cut(sealed.Listener.Addr().String(), ":")
	f := clustertest.NewFleet(t)
	var n int
	if err := json.Unmarshal([]byte(port), &n); err != nil {
		t.Fatal(err)
	}
	f.Nodes[0].RequireTLS(n)
	c := f.Cluster(t)
	for range 3 {
		var got string
		if err := c.Post(t.Context(), f.Nodes[0].Address(), "/pub", url.Values{"topic": {"t"}}, []byte("body"), &got); err != nil || got != "POST /pub?topic=t body" {
			t.Errorf("%q, %v", got, err)
		}
	}
	if f.Requests("") != 1 || asked.Load() != 3 {
		t.Errorf("%d in clear and %d sealed, want 1 and 3", f.Requests(""), asked.Load())
	}
	sealed.Close()
	f.Nodes[0].Heal() // it wants TLS no more: the first that fails says so, and the next is right
	if err := c.Get(t.Context(), f.Nodes[0].Address(), "/ping", nil, nil); err == nil {
		t.Error("asked where there is no server any more")
	}
	if err := c.Get(t.Context(), f.Nodes[0].Address(), "/ping", nil, nil); err != nil {
		t.Error(err)
	}
}

func TestEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := clustertest.NewFleet(t, clustertest.InMemory(), clustertest.Nodes(5))
		s := f.Settings()
		s.Parallel = 2
		c, err := cluster.New(s, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		var running, most atomic.Int32
		var ended []string
		addresses := []string{"e:1", "d:1", "c:1", "b:1", "a:1"}
		got := c.Each(t.Context(), addresses, func(_ context.Context, address string) audit.Result {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			n := time.Duration(address[0] - 'a' + 1)
			time.Sleep(n * n * n * time.Second)
			return cluster.ResultOf(address, nil)
		}, func(r audit.Result) { ended = append(ended, r.Node) })
		if most.Load() != 2 {
			t.Errorf("%d at a time, want 2", most.Load())
		}
		if want := []string{"d:1", "c:1", "b:1", "a:1", "e:1"}; !slices.Equal(ended, want) {
			t.Errorf("ended in the order %v, want %v", ended, want)
		}
		for i, r := range got {
			if r != (audit.Result{Node: addresses[i], OK: true}) {
				t.Errorf("result %d is %+v", i, r)
			}
		}
	})
}

// What has not begun when the caller gives up is not begun.
func TestEachGivenUp(t *testing.T) {
	f := clustertest.NewFleet(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got := f.Cluster(t).Each(ctx, []string{"a:1", "b:1"}, func(context.Context, string) audit.Result {
		t.Error("begun")
		return audit.Result{}
	}, nil)
	want := audit.Result{Node: "b:1", Error: "not asked: context canceled"}
	if len(got) != 2 || got[1] != want {
		t.Errorf("%+v", got)
	}
}

func TestSettings(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for _, s := range []cluster.Settings{{}, {Lookupds: []string{"a:1"}, Daemons: []string{"b:1"}}, {Lookupds: []string{"a"}}, {Daemons: []string{"http://a:1"}}} {
		if _, err := cluster.New(s, log); err == nil {
			t.Errorf("%+v was taken", s)
		}
	}
	c, err := cluster.New(cluster.Settings{Lookupds: []string{"a:1", "b:1", "a:1"}}, log)
	if err != nil || !slices.Equal(c.Lookupds(), []string{"a:1", "b:1"}) {
		t.Fatalf("%v, %v", c, err)
	}
	for _, wrong := range [][]string{nil, {"x"}, make([]string, 300)} {
		if err := c.SetLookupds(wrong); err == nil || len(c.Lookupds()) != 2 {
			t.Errorf("%q: %v, and there are %v", wrong, err, c.Lookupds())
		}
	}
	if err := c.SetLookupds([]string{"[::1]:4161"}); err != nil || !slices.Equal(c.Lookupds(), []string{"[::1]:4161"}) {
		t.Errorf("%v, and there are %v", err, c.Lookupds())
	}
}

func TestProducers(t *testing.T) {
	f := clustertest.NewFleet(t, clustertest.Nodes(2), clustertest.Topics(2))
	l, c := f.Lookupds[0], f.Cluster(t)
	l.Tombstone(clustertest.TopicName(1), f.Nodes[1])
	l.List("2001:db8::1", 4151)
	l.List("evil/../host", 4151)
	l.List("user@host", 4151)
	l.List("host?x", 4151)
	l.List("host", 0)
	l.List("host", 70000)
	l.List("", 4151)
	l.List(f.Nodes[0].Address(), 4151) // host:port in place of a host
	got, note, err := c.Producers(t.Context(), l.Address(), true)
	if err != nil || len(got) != 3 || !strings.Contains(note, "cannot be used") {
		t.Fatalf("%+v, %q, %v", got, note, err)
	}
	var hidden []string
	var addresses []string
	for _, p := range got {
		addresses = append(addresses, p.Address)
		hidden = append(hidden, p.Hidden()...)
	}
	if !slices.Equal(hidden, []string{clustertest.TopicName(1)}) || !slices.Contains(addresses, "[2001:db8::1]:4151") {
		t.Errorf("hidden: %v; addresses: %v", hidden, addresses)
	}
	got, _, err = c.Producers(t.Context(), l.Address(), false)
	if err != nil || len(got) != 3 || len(got[0].Topics) != 0 {
		t.Errorf("without topics: %+v, %v", got, err)
	}
	l.Answer(200, `{"status_code":200,"data":{}}`)
	if got, _, err := c.Producers(t.Context(), l.Address(), false); err == nil {
		t.Errorf("nonsense: %+v", got)
	}
}

func TestHolders(t *testing.T) {
	f := clustertest.NewFleet(t, clustertest.Nodes(2), clustertest.Topics(1))
	l, c := f.Lookupds[0], f.Cluster(t)
	got, note, err := c.Holders(t.Context(), l.Address(), clustertest.TopicName(0))
	if err != nil || len(got) != 2 || got[0].Address != f.Nodes[0].Address() && got[1].Address != f.Nodes[0].Address() || note != "" {
		t.Errorf("%+v, %q, %v", got, note, err)
	}
	if _, _, err := c.Holders(t.Context(), l.Address(), "none"); !strings.Contains(fmt.Sprint(err), "TOPIC_NOT_FOUND") {
		t.Errorf("a topic that it does not know: %v", err)
	}
	l.AnswerPath("/lookup", 200, `{"producers":[{"broadcast_address":"a","http_port":1},{"broadcast_address":"a/b","http_port":1},{"broadcast_address":"a","http_port":1}]}`)
	if got, note, err := c.Holders(t.Context(), l.Address(), "t"); err != nil || len(got) != 1 || !strings.Contains(note, "cannot be used") {
		t.Errorf("odd addresses: %+v, %q, %v", got, note, err)
	}
	many := strings.Repeat(`{"broadcast_address":"a","http_port":1},`, 10_001)
	l.AnswerPath("/lookup", 200, `{"producers":[`+many[:len(many)-1]+`]}`)
	if _, note, err := c.Holders(t.Context(), l.Address(), "t"); err != nil || !strings.Contains(note, "the first 10000 are used") {
		t.Errorf("very many: %q, %v", note, err)
	}
	l.AnswerPath("/lookup", 200, `{"data":{}}`)
	if got, _, err := c.Holders(t.Context(), l.Address(), "t"); err == nil {
		t.Errorf("nonsense: %+v", got)
	}
}

func TestInactive(t *testing.T) {
	f := clustertest.NewFleet(t, clustertest.Topics(2), clustertest.Lookupds(3))
	f.Lookupds[0].Create("old", "b", "a")
	f.Lookupds[1].Create("old", "c", "a")
	f.Lookupds[1].Create(clustertest.TopicName(0))
	f.Lookupds[0].Tombstone(clustertest.TopicName(1), f.Nodes[0])
	f.Nodes[0].Unlist(f.Lookupds[1])
	f.Lookupds[2].Answer(200, "nonsense")
	got, results := f.Cluster(t).Inactive(t.Context())
	if want := map[string][]string{"old": {"a", "b", "c"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if len(results) != 3 || !results[0].OK || !results[1].OK || results[2].OK {
		t.Errorf("%+v", results)
	}
}

// A lookupd that hangs in the midst of many topics costs one time-out, not one for each.
func TestInactiveHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := clustertest.NewFleet(t, clustertest.InMemory())
		for i := range 1000 {
			f.Lookupds[0].Create(clustertest.TopicName(i), "c")
		}
		f.Lookupds[0].HangPath("/channels")
		began := time.Now()
		got, results := f.Cluster(t).Inactive(t.Context())
		if len(got) != 1000 || results[0].OK || !strings.Contains(results[0].Error, "no answer within 5s") {
			t.Errorf("%d topics, %+v", len(got), results)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// A daemon that is not there is told in words that do not name it once more.
func TestReasonOfNobody(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close() // nobody listens there any more
	c, err := cluster.New(cluster.Settings{Daemons: []string{address}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := cluster.Reason(c.Get(t.Context(), address, "/stats", nil, nil)); got != "connection refused" {
		t.Errorf("%q", got)
	}
}

// Whatever else a URL could be made of is no address, and nobody is asked.
func TestNoAddress(t *testing.T) {
	dialled := ""
	c, err := cluster.New(cluster.Settings{Daemons: []string{"qd-0:4151"}, Dial: func(_ context.Context, _, address string) (net.Conn, error) {
		dialled = address
		return nil, errors.New("refused")
	}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"", "qd-0", "user@qd-0:4151", "qd-0:4151/delete", "qd-0/x:4151", "http://qd-0:4151", "qd-0:4151?x", "qd-0:4151#x"} {
		if err := c.Post(t.Context(), address, "/topic/delete", nil, nil, nil); err == nil || !cluster.Unsent(err) || dialled != "" {
			t.Errorf("%q: %v; asked %q", address, err, dialled)
		}
	}
}

// Whom a change is made for is said with it, whatever he is called; with what only looks
// it is not.
func TestFor(t *testing.T) {
	var told []string // one request at a time
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		told = append(told, r.Method+" "+r.Header.Get("X-Millrace-For"))
	}))
	defer server.Close()
	address := server.Listener.Addr().String()
	c, err := cluster.New(cluster.Settings{Daemons: []string{address}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := cluster.For(t.Context(), "Zoë\r\nX-Evil: 1")
	err = errors.Join(c.Get(ctx, address, "/stats", nil, nil), c.Post(ctx, address, "/topic/pause", nil, nil, nil), c.Post(t.Context(), address, "/topic/pause", nil, nil, nil))
	if want := []string{"GET ", "POST Zo%C3%AB%0D%0AX-Evil:%201", "POST "}; err != nil || !slices.Equal(told, want) {
		t.Errorf("%v: %q, want %q", err, told, want)
	}
}
