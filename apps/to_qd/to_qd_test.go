package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	millrace "github.com/millrace-mq/millrace/clients/go"
	"github.com/millrace-mq/millrace/internal/secure/securetest"
	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd"
)

func TestMoves(t *testing.T) {
	for _, flags := range [][]string{nil, {"--ordered"}, {"--max-in-flight=1"}, {"--compression=snappy", "--destination-compression=deflate"}} {
		t.Run(strings.Join(flags, " "), func(t *testing.T) {
			from, to := startQD(t, nil), startQD(t, nil)
			from.channel(t, "orders", "to_qd")
			n := 20_000
			if slices.Contains(flags, "--max-in-flight=1") {
				n = 50
			}
			all := numbered(n)
			from.publish(t, "orders", all...)
			got := to.sink(t, "orders", "c")
			r := start(t, append(flags, "--topic=orders", "--qd-tcp-address="+from.tcp, "--destination-nsqd-tcp-address="+to.tcp)...)
			again, ordered := got.audit(t, all)
			if again > 0 {
				t.Errorf("%d came twice", again)
			}
			if slices.Contains(flags, "--ordered") && !ordered {
				t.Error("the order is lost")
			}
			until(t, "the source has nothing left", func() bool { return from.empty(t, "orders", "to_qd") })
			r.stop(t)
			if want := fmt.Sprintf("published=%d left_out=0", n); !strings.Contains(r.log.String(), want) {
				t.Errorf("the log has no %q:\n%s", want, r.log.String())
			}
		})
	}
}

// TestSelects: what is filtered is finished, and of what passes only the named fields go.
func TestSelects(t *testing.T) {
	from, to := startQD(t, nil), startQD(t, nil)
	from.channel(t, "orders", "mine")
	from.publish(t, "orders", append(numbered(1000), "no JSON", `{"even":true}`, `["even"]`)...)
	got := to.sink(t, "copy.orders", "c")
	r := start(t, "--topic=orders", "--channel=mine", "--qd-tcp-address="+from.tcp, "--destination-qd-tcp-address="+to.tcp, "--destination-topic=copy.<TOPIC>",
		"--require-json-field=even", "--require-json-value=true", "--require-json=user.id=4", "--whitelist-json-field=user,n")
	var want []string
	for n := 4; n < 1000; n += 10 {
		want = append(want, fmt.Sprintf(`{"n":%d,"user":{"id":4}}`, n))
	}
	if again, _ := got.audit(t, want); again > 0 {
		t.Errorf("%d came twice", again)
	}
	until(t, "the source has nothing left", func() bool { return from.empty(t, "orders", "mine") })
	r.stop(t)
	if !strings.Contains(r.log.String(), "published=100 left_out=903 no_json=2") {
		t.Error(r.log.String())
	}
}

// TestFaults: connections break at either end, and the destination hangs, while messages are on their
// way. None is lost; in order, the first copies stay in it.
func TestFaults(t *testing.T) {
	for _, ordered := range []bool{false, true} {
		t.Run(fmt.Sprintf("ordered=%v", ordered), func(t *testing.T) {
			from, to := startQD(t, nil), startQD(t, nil)
			from.channel(t, "orders", "to_qd")
			all := numbered(60_000)
			got := to.sink(t, "orders", "c")
			source, destination := newBetween(t, from.tcp), newBetween(t, to.tcp)
			r := start(t, "--topic=orders", "--max-in-flight=2500", fmt.Sprintf("--ordered=%v", ordered), "--qd-tcp-address="+source.address, "--destination-qd-tcp-address="+destination.address)
			faults := []func(){ // the pauses are how long a fault lasts: real daemons have no fake clock
				func() { destination.cut(false) },
				func() { destination.pause(); time.Sleep(100 * time.Millisecond); destination.resume() },
				func() { destination.cut(true); time.Sleep(300 * time.Millisecond); destination.cut(false) },
			}
			if !ordered { // what a source has sent on a connection that breaks, it sends again among others
				faults = append(faults, func() { source.cut(false) }, func() { source.cut(true); destination.cut(false); source.cut(false) })
			}
			for i := range 20 {
				from.publish(t, "orders", all[3000*i:3000*(i+1)]...)
				faults[i%len(faults)]()
			}
			again, kept := got.audit(t, all)
			if ordered && !kept {
				t.Error("the order is lost")
			}
			t.Logf("%d came again", again)
			until(t, "the source has nothing left", func() bool { return from.empty(t, "orders", "to_qd") })
			r.stop(t)
		})
	}
}

// TestAway: while no destination is there, messages are held for longer than the source's
// timeout, and each of them arrives once.
func TestAway(t *testing.T) {
	from := startQD(t, func(s *qd.Settings) { s.MsgTimeout = 4 * time.Second })
	to := startQD(t, nil)
	destination := newBetween(t, to.tcp)
	destination.cut(true)
	from.channel(t, "orders", "to_qd")
	all := numbered(3000)
	from.publish(t, "orders", all...)
	r := start(t, "--topic=orders", "--max-in-flight=2500", "--qd-tcp-address="+from.tcp, "--destination-qd-tcp-address="+destination.address)
	until(t, "it is told", func() bool { return strings.Contains(r.log.String(), "the destination takes no messages") })
	before := from.stats(t, "orders", "to_qd")
	if before.InFlight == 0 {
		t.Fatal("nothing is held")
	}
	time.Sleep(5 * time.Second) // longer than the real source's timeout, which nothing but time brings about
	if s := from.stats(t, "orders", "to_qd"); s.Timeouts+s.Requeues > 0 {
		t.Errorf("%+v: what is held was delivered again", s)
	}
	got := to.sink(t, "orders", "c")
	destination.cut(false)
	again, _ := got.audit(t, all)
	if again > 0 {
		t.Errorf("%d came twice", again)
	}
	until(t, "the source has nothing left", func() bool { return from.empty(t, "orders", "to_qd") })
	r.stop(t)
	if n := strings.Count(r.log.String(), "the destination takes no messages"); n > 3 {
		t.Errorf("it was told %d times", n)
	}
}

// TestLongAway: no touch holds messages for longer than the source's longest timeout. They are given back before
// that, but for one of each worker; in order, they are held and come again. What came too late is not touched.
func TestLongAway(t *testing.T) {
	for _, ordered := range []bool{false, true} {
		t.Run(fmt.Sprintf("ordered=%v", ordered), func(t *testing.T) {
			t.Parallel()
			from := startQD(t, func(s *qd.Settings) { s.MsgTimeout, s.MaxMsgTimeout = 4*time.Second, 6*time.Second })
			to := startQD(t, nil)
			destination := newBetween(t, to.tcp)
			destination.cut(true)
			from.channel(t, "orders", "to_qd")
			all := numbered(5000)
			from.publish(t, "orders", all...)
			r := start(t, "--topic=orders", "--max-in-flight=2500", fmt.Sprintf("--ordered=%v", ordered), "--qd-tcp-address="+from.tcp, "--destination-qd-tcp-address="+destination.address)
			until(t, "some are held", func() bool { return from.stats(t, "orders", "to_qd").InFlight > 0 })
			until(t, "all are back", func() bool { s := from.stats(t, "orders", "to_qd"); return s.Depth == len(all) && s.InFlight == 0 })
			if s := from.stats(t, "orders", "to_qd"); !ordered && s.Timeouts > workers {
				t.Errorf("%+v: they were not given back", s)
			}
			got := to.sink(t, "orders", "c")
			time.Sleep(5 * time.Second) // longer than the real source's timeout, which nothing but time brings about
			if n := strings.Count(r.log.String(), "TOUCH"); n > 0 {
				t.Errorf("%d touches came too late", n)
			}
			destination.cut(false)
			again, kept := got.audit(t, all)
			if ordered && !kept {
				t.Error("the order is lost")
			}
			if !ordered && again > workers {
				t.Errorf("%d came twice", again)
			}
			until(t, "the source has nothing left", func() bool { return from.empty(t, "orders", "to_qd") })
			r.stop(t)
		})
	}
}

// TestStopsAway: what cannot be published in time is given back, and that is a good end.
func TestStopsAway(t *testing.T) {
	from, to := startQD(t, nil), startQD(t, nil)
	destination := newBetween(t, to.tcp)
	destination.cut(true)
	from.channel(t, "orders", "to_qd")
	all := numbered(1000)
	from.publish(t, "orders", all...)
	r := start(t, "--topic=orders", "--stop-timeout=100ms", "--qd-tcp-address="+from.tcp, "--destination-qd-tcp-address="+destination.address)
	until(t, "something is in flight", func() bool { return from.stats(t, "orders", "to_qd").InFlight > 0 })
	r.stop(t)
	until(t, "all is back", func() bool { s := from.stats(t, "orders", "to_qd"); return s.Depth == 1000 && s.InFlight == 0 })
	destination.cut(false)
	got := to.sink(t, "orders", "c")
	r = start(t, "--topic=orders", "--qd-tcp-address="+from.tcp, "--destination-qd-tcp-address="+destination.address)
	if again, _ := got.audit(t, all); again > 0 {
		t.Errorf("%d came twice", again)
	}
	r.stop(t)
}

// TestStopsHung: a publish that a destination neither takes nor refuses is not waited for beyond stop-timeout.
func TestStopsHung(t *testing.T) {
	from, to := startQD(t, nil), startQD(t, nil)
	destination := newBetween(t, to.tcp)
	from.channel(t, "orders", "to_qd")
	from.publish(t, "orders", numbered(10)...)
	got := to.sink(t, "orders", "c")
	r := start(t, "--topic=orders", "--stop-timeout=100ms", "--qd-tcp-address="+from.tcp, "--destination-qd-tcp-address="+destination.address)
	got.audit(t, numbered(10))
	destination.pause()
	from.publish(t, "orders", numbered(1000)...)
	until(t, "something is in flight", func() bool { return from.stats(t, "orders", "to_qd").InFlight > 0 })
	began := time.Now()
	r.stop(t)
	if took := time.Since(began); took > 8*time.Second { // what a Writer would wait for is 10 s
		t.Errorf("it ended after %s", took)
	}
	if strings.Contains(r.log.String(), "level=WARN") {
		t.Errorf("it warns of its own end:\n%s", r.log.String())
	}
	until(t, "all is back", func() bool { s := from.stats(t, "orders", "to_qd"); return s.Depth == 1000 && s.InFlight == 0 })
	destination.resume()
}

// TestRefused: a message that the destination does not take harms no other.
func TestRefused(t *testing.T) {
	large := strings.Repeat("x", 2000)
	bodies := slices.Concat(numbered(300), []string{large}, numbered(600)[300:])
	tests := []struct {
		flags  []string
		left   stats // at the source
		status int
	}{
		{flags: nil, left: stats{Deferred: 1}},
		{flags: []string{"--refused=drop"}},
		{flags: []string{"--ordered", "--refused=drop"}},
		{flags: []string{"--refused=stop"}, status: 1},
		{flags: []string{"--ordered"}, status: 1},
	}
	for _, test := range tests {
		t.Run(strings.Join(test.flags, " "), func(t *testing.T) {
			from := startQD(t, nil)
			to := startQD(t, func(s *qd.Settings) { s.MaxMsgSize = 1000 })
			from.channel(t, "orders", "to_qd")
			from.publish(t, "orders", bodies...)
			got := to.sink(t, "orders", "c")
			r := start(t, append(test.flags, "--topic=orders", "--qd-tcp-address="+from.tcp, "--destination-qd-tcp-address="+to.tcp)...)
			if test.status != 0 {
				r.ended(t, test.status)
				if !strings.Contains(r.log.String(), "is refused") || !strings.Contains(r.log.String(), "--refused=drop") {
					t.Errorf("it does not say what to do:\n%s", r.log.String())
				}
				if slices.Contains(test.flags, "--ordered") {
					if _, kept := got.audit(t, numbered(300)); !kept {
						t.Error("the order is lost")
					}
					until(t, "the rest is back", func() bool { return from.stats(t, "orders", "to_qd").Depth == 301 })
				}
				return
			}
			if again, kept := got.audit(t, numbered(600)); again > 0 || slices.Contains(test.flags, "--ordered") && !kept {
				t.Errorf("%d came twice, in order: %v", again, kept)
			}
			until(t, "the source has what is to be left", func() bool {
				s := from.stats(t, "orders", "to_qd")
				return s.Depth == test.left.Depth && s.InFlight == 0 && s.Deferred == test.left.Deferred
			})
			r.stop(t)
		})
	}
}

// TestLoops: messages must not come back.
func TestLoops(t *testing.T) {
	from, to := startQD(t, nil), startQD(t, nil)
	_, port, _ := strings.Cut(from.tcp, ":")
	for _, flags := range [][]string{
		{"--topic=a"}, {"--topic=a", "--topic=b", "--rename=a=b"}, {"--topic=a", "--topic=ab", "--destination-topic=<TOPIC>b"},
	} {
		r := start(t, append(flags, "--qd-tcp-address="+from.tcp, "--destination-qd-tcp-address="+to.tcp, "--destination-qd-tcp-address=localhost:"+port)...)
		r.ended(t, 1)
		if !strings.Contains(r.log.String(), "would come back for ever") {
			t.Error(r.log.String())
		}
	}

	// To a topic that is not consumed it is no loop.
	from.channel(t, "a", "to_qd")
	from.publish(t, "a", "x")
	got := from.sink(t, "b", "c")
	r := start(t, "--topic=a", "--rename=a=b", "--qd-tcp-address="+from.tcp, "--destination-qd-tcp-address="+from.tcp)
	got.audit(t, []string{"x"})
	r.stop(t)
}

// TestFoundLoop: what is found by lookupds that are not the same is seen when it comes.
func TestFoundLoop(t *testing.T) {
	l, m := startLookupd(t), startLookupd(t)
	from := startQD(t, func(s *qd.Settings) { s.LookupdTCPAddresses = []string{l.tcp, m.tcp} })
	from.channel(t, "a", "to_qd")
	from.publish(t, "a", numbered(10)...)
	r := start(t, "--topic=a", "--lookupd-http-address="+l.http, "--destination-lookupd-http-address="+m.http)
	until(t, "it goes wrong", func() bool { return strings.Contains(r.log.String(), "would come back for ever") })
	r.ended(t, 1)

	same := start(t, "--topic=a", "--lookupd-http-address="+l.http, "--destination-lookupd-http-address=http://"+l.http)
	same.ended(t, 1)
	if !strings.Contains(same.log.String(), "is that of the source and of the destination") {
		t.Error(same.log.String())
	}
}

// TestMirror: channels are there before the first message, and later ones soon; so are topics.
func TestMirror(t *testing.T) {
	l, m := startLookupd(t), startLookupd(t)
	from := startQD(t, func(s *qd.Settings) { s.LookupdTCPAddresses = []string{l.tcp} })
	to := startQD(t, func(s *qd.Settings) { s.LookupdTCPAddresses = []string{m.tcp} })
	for _, c := range []string{"archive", "billing", "tail%23ephemeral"} {
		from.channel(t, "orders", c)
	}
	r := start(t, "--mirror", "--topic-refresh=100ms", "--lookupd-http-address="+l.http, "--destination-lookupd-http-address="+m.http)
	until(t, "the channels are made", func() bool {
		return to.stats(t, "orders", "archive").Depth == 0 && to.stats(t, "orders", "billing").Depth == 0
	})
	until(t, "it consumes", func() bool { return from.stats(t, "orders", "to_qd").Depth == 0 })
	all := numbered(5000)
	from.publish(t, "orders", all...)
	from.channel(t, "payments", "bank")
	until(t, "the topic is found", func() bool { return from.stats(t, "payments", "to_qd").Depth == 0 })
	from.publish(t, "payments", all...)
	for _, c := range [][2]string{{"orders", "archive"}, {"orders", "billing"}, {"payments", "bank"}} {
		if again, _ := to.sink(t, c[0], c[1]).audit(t, all); again > 0 {
			t.Errorf("%s: %d came twice", c, again)
		}
	}
	for _, c := range []string{"to_qd", "tail#ephemeral"} {
		if to.stats(t, "orders", c).Depth != -1 {
			t.Errorf("%s is there", c)
		}
	}
	from.channel(t, "orders", "late")
	until(t, "a late channel is made", func() bool { return to.stats(t, "orders", "late").Depth == 0 })
	r.stop(t)
}

// TestMirrorWaits: nothing is sent before the channels are made.
func TestMirrorWaits(t *testing.T) {
	l := startLookupd(t)
	from := startQD(t, func(s *qd.Settings) { s.LookupdTCPAddresses = []string{l.tcp} })
	to := startQD(t, nil)
	from.channel(t, "orders", "archive")
	from.channel(t, "orders", "to_qd")
	all := numbered(100)
	from.publish(t, "orders", all...)
	api := newBetween(t, to.http)
	api.cut(true)
	flags := []string{"--mirror", "--topic-refresh=100ms", "--lookupd-http-address=" + l.http, "--destination-qd-tcp-address=" + to.tcp, "--destination-qd-http-address=" + api.address}
	for range 2 { // that it waits does not keep it from ending
		r := start(t, flags...)
		until(t, "it is told", func() bool { return strings.Contains(r.log.String(), "channels cannot be made") })
		r.stop(t)
	}
	r := start(t, flags...)
	until(t, "it is told", func() bool { return strings.Contains(r.log.String(), "channels cannot be made") })
	var topics struct{ Topics []json.RawMessage }
	if err := json.Unmarshal(call(t, "GET", to.http+"/stats?format=json", ""), &topics); err != nil || len(topics.Topics) > 0 {
		t.Errorf("%s, %v", topics.Topics, err)
	}
	api.cut(false)
	until(t, "the channel has them", func() bool { return to.stats(t, "orders", "archive").Depth == 100 })
	r.stop(t)
}

// TestSecrets: the destination has TLS and a secret of its own, which the source is not told. A right
// that is missing there is waited for.
func TestSecrets(t *testing.T) {
	ca, err := securetest.NewAuthority("ca")
	if err != nil {
		t.Fatal(err)
	}
	cert, key, root, err := ca.Write(t.TempDir(), "destination")
	if err != nil {
		t.Fatal(err)
	}
	var may atomic.Bool
	auth := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		topic := "^other$"
		if may.Load() {
			topic = "^orders$"
		}
		if r.URL.Query().Get("secret") != "theirs" {
			topic = "^none$"
		}
		fmt.Fprintf(w, `{"ttl":1,"identity":"x","authorizations":[{"topic":%q,"channels":[".*"],"permissions":["publish"]}]}`, topic)
	}))
	defer auth.Close()
	from := startQD(t, nil)
	to := startQD(t, func(s *qd.Settings) {
		s.TLSCert, s.TLSKey, s.TLSRequired, s.HTTPSAddress = cert, key, "tcp-https", "127.0.0.1:0"
		s.AuthHTTPAddresses = []string{auth.URL}
	})
	from.channel(t, "orders", "to_qd")
	to.channel(t, "orders", "archive")
	from.publish(t, "orders", numbered(100)...)
	_, port, _ := strings.Cut(to.tcp, ":")
	r := start(t, "--topic=orders", "--qd-tcp-address="+from.tcp, "--destination-qd-tcp-address=localhost:"+port,
		"--destination-tls-root-ca-file="+root, "--destination-auth-secret=theirs")
	until(t, "it is told", func() bool { return strings.Contains(r.log.String(), "E_UNAUTHORIZED") })
	if s := from.stats(t, "orders", "to_qd"); s.InFlight != 100 || s.Requeues > 0 {
		t.Errorf("%+v", s)
	}
	may.Store(true)
	until(t, "all have arrived", func() bool { return to.stats(t, "orders", "archive").Depth == 100 })
	until(t, "the source has nothing left", func() bool { return from.empty(t, "orders", "to_qd") })
	r.stop(t)
}

// A secret that was forgotten says nothing about the messages, so none is dropped for it.
func TestOfMessages(t *testing.T) {
	refused := func(err error) error { return &millrace.RefusedError{Address: "qd", Err: err} }
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"too large, as it has said": {refused(errors.New("over the limit")), true},
		"a bad message":             {refused(&protocol.Error{Code: protocol.EBadMessage}), true},
		"no right":                  {refused(&protocol.Error{Code: protocol.EUnauthorized}), false},
		"no secret":                 {refused(millrace.ErrMismatch), false},
		"away":                      {&millrace.UnavailableError{Err: errors.New("refused")}, false},
	} {
		if got := ofMessages(c.err); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
