package millrace

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// available is a lookupd's answer: daemons as host/region/zone, all with port 1.
func available(daemons ...string) string {
	var all []string
	for _, d := range daemons {
		part := strings.Split(d+"//", "/")
		all = append(all, fmt.Sprintf(`{"broadcast_address":%q,"tcp_port":1,"topology_region":%q,"topology_zone":%q}`, part[0], part[1], part[2]))
	}
	return `{"producers":[` + strings.Join(all, ",") + `]}`
}

// serveListing answers one path, with what list was last called with.
func serveListing(t *testing.T, l net.Listener, path string) (list func(string)) {
	var answer atomic.Value
	answer.Store(available())
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RequestURI() != path {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = w.Write([]byte(answer.Load().(string)))
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close(); <-done })
	return func(new string) { answer.Store(new) }
}

const whichTake = "/producers/available?limit=1000"

// TestWriterDiscovers: a Writer publishes to those daemons that a lookupd lists for it,
// and leaves one that is not listed any more before it has to be refused.
func TestWriterDiscovers(t *testing.T) {
	for name, path := range map[string]string{"ours": whichTake, "nsqlookupd": "/nodes"} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *pipeNet) {
				list := serveListing(t, n.listen("l:1"), path)
				a, b := startBroker(t, n.listen("a:1")), startBroker(t, n.listen("b:1"))
				w := openWriter(t, n, WriterConfig{Lookupds: []string{"l:1"}, LookupInterval: 10 * time.Second})
				time.AfterFunc(5*time.Second, func() { list(available("a")) })
				began := time.Now()
				noError(t, w.Publish(t.Context(), "t", []byte("1")))
				if took := time.Since(began); took < 5*time.Second || took > 20*time.Second {
					t.Errorf("the daemon was found after %v", took)
				}
				list(available("b"))
				pass(20 * time.Second)
				noError(t, w.Publish(t.Context(), "t", []byte("2")))
				want(t, "at the first", a.bodies("t"), []string{"1"})
				want(t, "at the second", b.bodies("t"), []string{"2"})
				want(t, "connections", w.Stats().Connections, 1)
			})
		})
	}
}

// TestWriterStaysNear: daemons of the same zone are preferred, then those of the region, as
// long as one of them takes publishes.
func TestWriterStaysNear(t *testing.T) {
	for _, most := range []int{1, 4} {
		t.Run(fmt.Sprint("connections ", most), func(t *testing.T) { staysNear(t, most) })
	}
}

func staysNear(t *testing.T, most int) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		serveHTTP(t, n.listen("l:1"), map[string]string{whichTake: available("near/r/z", "next/r/y", "far/q/z")})
		brokers := map[string]*broker{}
		for _, name := range []string{"near", "next", "far"} {
			brokers[name] = startBroker(t, n.listen(name+":1"))
		}
		w := openWriter(t, n, WriterConfig{Lookupds: []string{"l:1"}, MaxConnections: most, Connection: Connection{Region: "r", Zone: "z"}})
		at := func(name string) {
			t.Helper()
			before := len(brokers[name].bodies("t"))
			for range 5 {
				noError(t, w.Publish(t.Context(), "t", []byte("x")))
			}
			want(t, "published at "+name, len(brokers[name].bodies("t"))-before, 5)
		}
		at("near")
		want(t, "connections", w.Stats().Connections, 1)
		drain(brokers["near"])
		at("next")
		brokers["next"].stop()
		synctest.Wait()
		at("far")
		refill(brokers["near"])
		pass(lastAside)
		at("near")
		pass(time.Minute)
		want(t, "connections", w.Stats().Connections, 1)
	})
}

// TestWriterWithoutLookupd: a Writer that cannot ask says so, and goes on with what it
// was told before.
func TestWriterWithoutLookupd(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		w := openWriter(t, n, WriterConfig{Lookupds: []string{"l:1"}, RetryFor: 5 * time.Second})
		err := w.Publish(t.Context(), "t", []byte("x"))
		want(t, "outcome", kind(t, err), "unavailable")
		if !strings.Contains(err.Error(), "no lookupd") {
			t.Errorf("%v does not say why", err)
		}
		l := n.listen("l:1")
		serveHTTP(t, l, map[string]string{whichTake: available("a")})
		a := startBroker(t, n.listen("a:1"))
		pass(2 * time.Minute)
		noError(t, w.Publish(t.Context(), "t", []byte("1")))
		_ = l.Close()
		pass(10 * time.Minute)
		a.each(func(s *session) { _ = s.nc.Close() })
		noError(t, w.Publish(t.Context(), "t", []byte("2")))
		want(t, "stored", a.bodies("t"), []string{"1", "2"})
	})
}
