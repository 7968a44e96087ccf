package fake

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace-mq/millrace/clients/conformance/script"
	"github.com/millrace-mq/millrace/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stage is a world with one daemon, whose scenario is over with the test.
func stage(t *testing.T) (*World, *Daemon, context.Context) {
	w := NewWorld()
	d, err := w.NewDaemon("A")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(func() {
		cancel()
		d.Stop()
		w.Join()
	})
	return w, d, ctx
}

// dial connects to d and says things.
func dial(t *testing.T, d *Daemon, says ...string) net.Conn {
	nc, err := net.Dial("tcp", d.Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	if _, err := io.WriteString(nc, strings.Join(says, "")); err != nil {
		t.Fatal(err)
	}
	return nc
}

var identify = string(protocol.AppendIdentify([]byte(protocol.MagicV2), []byte(`{"client_id":"me","sample_rate":5}`)))

// step is a line of a scenario's.
func step[A script.Act](t *testing.T, line string) A {
	list, err := script.Parse("== x\n" + line)
	if err != nil {
		t.Fatal(err)
	}
	return list[0].Steps[0].Act.(A)
}

func command(t *testing.T, line string) script.Command {
	return step[script.Expect](t, "A <- "+line).Want
}

func TestConversation(t *testing.T) {
	w, d, ctx := stage(t)
	pub := string(protocol.AppendPub(nil, "orders", []byte("a")))
	nc := dial(t, d, identify, "NOP\n", pub, "RDY 7\nRDY 0\nSUB orders c\n")
	if err := d.Accept(ctx, Plan{}, nil); err != nil {
		t.Fatal(err)
	}
	daemons := []*Daemon{d}
	for _, line := range []string{`IDENTIFY client_id=me sample_rate=5 tls_v1=none`, `PUB orders "a"`, `SUB orders c`, "RDY =7", "RDY =0", "RDY <=0"} {
		if _, err := w.Expect(ctx, daemons, command(t, line)); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	if err := d.SayOKToAll(ctx); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(nc)
	_, greeting, err := protocol.ReadFrame(in, nil, 1<<20)
	if err != nil || !strings.Contains(string(greeting), `"sample_rate":5`) {
		t.Errorf("IDENTIFY is answered %s, error %v", greeting, err)
	}
	if _, ok, err := protocol.ReadFrame(in, nil, 1<<20); err != nil || string(ok) != "OK" {
		t.Errorf("PUB is answered %q, error %v", ok, err)
	}
	if err := d.Break(ctx, false); err != nil {
		t.Fatal(err)
	}
	if _, err := in.ReadByte(); err != io.EOF {
		t.Errorf("after the end: %v", err)
	}
	if err := w.ExpectParted(ctx, daemons); err != nil {
		t.Error(err)
	}
}

// What is not as expected is said.
func TestWhatIsNotExpected(t *testing.T) {
	w, d, ctx := stage(t)
	dial(t, d, identify, "SUB orders c\n", "FIN 0000000000000001\n", string(protocol.AppendMPub(nil, "orders", [][]byte{[]byte("a")})), "FIN 0000000000000002\n")
	if err := d.Accept(ctx, Plan{}, []string{"orders", "c"}); err != nil {
		t.Fatal(err)
	}
	soon, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	for _, tt := range []struct {
		err  error
		want string
	}{
		{expect(ctx, w, d, command(t, "IDENTIFY client_id=you")), `client_id is "me"`},
		{expect(ctx, w, d, command(t, "IDENTIFY tls_v1=true")), "tls_v1 is missing"},
		{expect(soon, w, d, command(t, "RDY >=1")), "RDY is 0"},
		{expect(ctx, w, d, command(t, "FIN 2")), "came FIN 0000000000000001"},
		{expect(ctx, w, d, command(t, `messages orders "b" in at most 1 commands`)), "the messages were others"},
		{d.ExpectNothing(ctx, time.Minute), "came FIN 0000000000000002"},
		{expect(soon, w, d, command(t, "CLS")), "nothing has come"},
		{d.ExpectEnd(soon), "has not closed"},
		{d.ExpectNobody(soon, time.Minute), "<nil>"},
		{w.ExpectStored(soon, []*Daemon{d}, []string{"a"}), "there are"},
		{w.ExpectParted(soon, []*Daemon{d}), "is still open"},
	} {
		if got := said(tt.err); !strings.Contains(got, tt.want) {
			t.Errorf("it is said %q, not %q", got, tt.want)
		}
	}
}

func expect(ctx context.Context, w *World, d *Daemon, want script.Command) error {
	_, err := w.Expect(ctx, []*Daemon{d}, want)
	return err
}

func said(err error) string {
	if err == nil {
		return "<nil>"
	}
	return err.Error()
}

// A daemon that serves stores what is within its limit, and closes over the rest.
func TestServe(t *testing.T) {
	w, d, ctx := stage(t)
	d.Welcome(Plan{Serves: true, Limit: 3})
	nc := dial(t, d, identify, string(protocol.AppendPub(nil, "orders", []byte("abc"))), string(protocol.AppendPub(nil, "orders", []byte("abcd"))))
	in := bufio.NewReader(nc)
	for _, want := range []string{"{", "OK", "E_BAD_MESSAGE"} {
		_, got, err := protocol.ReadFrame(in, nil, 1<<20)
		if err != nil || !strings.HasPrefix(string(got), want) {
			t.Errorf("it says %q, error %v, not %s", got, err, want)
		}
	}
	if err := w.ExpectStored(ctx, []*Daemon{d}, []string{"abc"}); err != nil {
		t.Error(err)
	}
	if err := d.ExpectEnd(ctx); err != nil {
		t.Error(err)
	}
}

// What nobody has expected is left over when the scenario is over; CLS is let go.
func TestLeftover(t *testing.T) {
	w, d, ctx := stage(t)
	d.Welcome(Plan{Sub: true})
	nc := dial(t, d, identify, "SUB orders c\nTOUCH 0000000000000001\nFIN 0000000000000001\nCLS\n")
	if !w.Wait(ctx, func() bool { return len(d.conns) == 1 && len(d.conns[0].commands) == 3 }) {
		t.Fatal("the commands have not come")
	}
	w.Ease([]*Daemon{d})
	in := bufio.NewReader(nc)
	for range 3 { // the answer to IDENTIFY, that to SUB, and CLOSE_WAIT
		if _, _, err := protocol.ReadFrame(in, nil, 1<<20); err != nil {
			t.Fatal(err)
		}
	}
	_ = nc.Close()
	if got := said(w.ExpectParted(ctx, []*Daemon{d})); got != "nobody expected A <- FIN 0000000000000001" {
		t.Errorf("it is said %q", got)
	}
}

func TestLookupd(t *testing.T) {
	w, d, ctx := stage(t)
	l, err := w.NewLookupd("L")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Stop)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	get := func(path string) string {
		resp, err := client.Get("http://" + l.Address + path)
		if err != nil {
			return err.Error()
		}
		defer func() { _ = resp.Body.Close() }()
		body, _ := io.ReadAll(resp.Body)
		return resp.Status + " " + string(body)
	}
	_, port, _ := net.SplitHostPort(d.Address)
	for _, tt := range []struct{ change, path, want string }{
		{"", "/lookup?topic=t", `200 OK {"channels":[],"producers":[]}`},
		{"L lists A@z", "/lookup?topic=t", `"tcp_port":` + port},
		{"", "/producers/available", `"topology_zone":"z"`},
		{"L is stock", "/producers/available", "404"},
		{"", "/nodes", `"tcp_port":` + port},
		{"L knows nothing", "/lookup?topic=t", `404 Not Found {"message":"TOPIC_NOT_FOUND"}`},
		{`L answers 500 "no"`, "/lookup?topic=t", "500 Internal Server Error no"},
	} {
		if tt.change != "" {
			l.Change(step[script.Lookup](t, tt.change))
		}
		if got := get(tt.path); !strings.Contains(got, tt.want) {
			t.Errorf("%s %s: %s", tt.change, tt.path, got)
		}
		if err := l.ExpectAsked(ctx, tt.path); err != nil {
			t.Error(err)
		}
	}
	l.Stop()
	if got := get("/nodes"); !strings.Contains(got, "refused") {
		t.Errorf("stopped, it answers %s", got)
	}
	if err := l.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if got := get("/nodes"); !strings.Contains(got, "500") {
		t.Errorf("started again, it answers %s", got)
	}
}
