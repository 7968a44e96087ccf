package session_test

import (
	"io"
	"testing"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/session"
)

// benchBatch is the number of messages, of benchBody bytes, that one operation
// of the benchmarks publishes, delivers and finishes.
const (
	benchBatch = 200
	benchBody  = 200
)

// bench is a publisher and a consumer that allocate nothing themselves.
type bench struct {
	t         testing.TB
	pub, con  end
	batch     []byte
	frames    []byte
	fins, oks []byte
}

// end is a connection's.
type end struct {
	io.Writer
	io.Reader
}

// newBench has the clients that dial returns.
func newBench(t testing.TB, dial func() end) *bench {
	w := &bench{
		t: t, pub: dial(), con: dial(),
		batch:  []byte(mpub("t", numbered(benchBatch, benchBody)...)),
		frames: make([]byte, benchBatch*(protocol.MessageOverhead+benchBody)),
		oks:    protocol.AppendFrame(nil, protocol.FrameResponse, protocol.OK),
	}
	w.write(w.con.Writer, []byte("SUB t ch\nRDY 2500\n"))
	w.read(w.con.Reader, w.oks)
	return w
}

// plainly dials without layers, and says AUTH if that is needed.
func plainly(t testing.TB, l session.Settings) func() end {
	_, addr := loopback(t, l)
	return func() end {
		p := connect(t, addr)
		if l.Auth != nil {
			p.say("AUTH\n\x00\x00\x00\x03all")
			p.wants(`{"identity":"","identity_url":"","permission_count":1}`)
		}
		return end{p, p.r}
	}
}

func (w *bench) write(to io.Writer, b []byte) {
	if _, err := to.Write(b); err != nil {
		w.t.Fatal(err)
	}
}

func (w *bench) read(from io.Reader, b []byte) {
	if _, err := io.ReadFull(from, b); err != nil {
		w.t.Fatal(err)
	}
}

// once passes a batch through: in, out, and finished with one write.
func (w *bench) once() {
	w.write(w.pub.Writer, w.batch)
	w.read(w.pub.Reader, w.oks)
	w.read(w.con.Reader, w.frames)
	w.fins = w.fins[:0]
	for at := 0; at < len(w.frames); at += protocol.MessageOverhead + benchBody {
		id := protocol.MessageID(w.frames[at+protocol.IDOffset : at+protocol.BodyOffset])
		w.fins = protocol.AppendFin(w.fins, id)
	}
	w.write(w.con.Writer, w.fins)
}

// settle passes enough through that lists and blocks have their sizes.
func (w *bench) settle() {
	for range 100 {
		w.once()
	}
}

func (w *bench) measure(b *testing.B) {
	b.SetBytes(benchBatch * benchBody)
	b.ReportAllocs()
	w.settle()
	for b.Loop() {
		w.once()
	}
	b.ReportMetric(float64(b.N)*benchBatch/b.Elapsed().Seconds(), "msgs/s")
}

// singly has a PUB for each message, in place of the batch.
func (w *bench) singly() *bench {
	w.batch = w.batch[:0]
	for _, body := range numbered(benchBatch, benchBody) {
		w.batch = append(w.batch, pub("t", body)...)
	}
	w.oks = make([]byte, benchBatch*len(w.oks))
	return w
}

// inTurn has each message go to another topic than the one before; every other one is
// consumed.
func (w *bench) inTurn() *bench {
	w.batch = w.batch[:0]
	for _, body := range numbered(benchBatch, benchBody) {
		w.batch = append(append(w.batch, pub("t", body)...), pub("u", body)...)
	}
	w.oks = make([]byte, 2*benchBatch*len(w.oks))
	return w
}

// BenchmarkBatch is a batch in, its messages out and their FINs in, over
// loopback. Its allocations are those of the daemon, and must be none for a
// message.
func BenchmarkBatch(b *testing.B) { newBench(b, plainly(b, limits())).measure(b) }

// BenchmarkSingle is the same with a PUB for each message.
func BenchmarkSingle(b *testing.B) { newBench(b, plainly(b, limits())).singly().measure(b) }

// BenchmarkRights is BenchmarkSingle for clients that an auth server allows it.
func BenchmarkRights(b *testing.B) {
	a := newAuthority()
	defer a.stop()
	var err error
	l := limits()
	if l.Auth, err = a.client("get"); err != nil {
		b.Fatal(err)
	}
	a.answers["all"] = `{"ttl":3600,"authorizations":[{"topic":".*","channels":[".*"],"permissions":["subscribe","publish"]}]}`
	newBench(b, plainly(b, l)).singly().measure(b)
}

// TestAllocations holds the daemon to far less than one allocation for a
// message, also if each goes to another topic than the one before.
func TestAllocations(t *testing.T) {
	for name, w := range map[string]*bench{
		"batches": newBench(t, plainly(t, limits())),
		"topics":  newBench(t, plainly(t, limits())).inTurn(),
	} {
		w.settle()
		if n := testing.AllocsPerRun(100, w.once); n > benchBatch/20 {
			t.Errorf("%s: %.0f allocations for %d messages", name, n, benchBatch)
		}
	}
}
