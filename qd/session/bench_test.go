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
	b         *testing.B
	pub, con  *peer
	batch     []byte
	frames    []byte
	fins, oks []byte
}

func newBench(b *testing.B, l session.Settings) *bench {
	_, addr := loopback(b, l)
	w := &bench{b: b, pub: connect(b, addr), con: connect(b, addr)}
	w.batch = []byte(mpub("t", numbered(benchBatch, benchBody)...))
	w.frames = make([]byte, benchBatch*(protocol.MessageOverhead+benchBody))
	w.oks = make([]byte, len(protocol.AppendFrame(nil, protocol.FrameResponse, protocol.OK)))
	if l.Auth != nil {
		for _, p := range []*peer{w.pub, w.con} {
			p.say("AUTH\n\x00\x00\x00\x03all")
			p.wants(`{"identity":"","identity_url":"","permission_count":1}`)
		}
	}
	w.con.say("SUB t ch\nRDY 2500\n")
	w.con.wants("OK")
	b.SetBytes(int64(benchBatch * benchBody))
	b.ReportAllocs()
	return w
}

func (w *bench) publish() {
	if _, err := w.pub.Write(w.batch); err != nil {
		w.b.Fatal(err)
	}
	if _, err := io.ReadFull(w.pub.r, w.oks); err != nil {
		w.b.Fatal(err)
	}
}

// finish reads a batch and finishes it with one write.
func (w *bench) finish() {
	if _, err := io.ReadFull(w.con.r, w.frames); err != nil {
		w.b.Fatal(err)
	}
	w.fins = w.fins[:0]
	for at := 0; at < len(w.frames); at += protocol.MessageOverhead + benchBody {
		id := protocol.MessageID(w.frames[at+protocol.IDOffset : at+protocol.BodyOffset])
		w.fins = protocol.AppendFin(w.fins, id)
	}
	if _, err := w.con.Write(w.fins); err != nil {
		w.b.Fatal(err)
	}
}

// BenchmarkBatch is a batch in, its messages out and their FINs in, over
// loopback. Its allocations are those of the daemon, and must be none for a
// message.
func BenchmarkBatch(b *testing.B) {
	w := newBench(b, limits())
	for range 100 { // lists and blocks have their sizes after a while
		w.publish()
		w.finish()
	}
	for b.Loop() {
		w.publish()
		w.finish()
	}
	b.ReportMetric(float64(b.N)*benchBatch/b.Elapsed().Seconds(), "msgs/s")
}

// BenchmarkSingle is the same with a PUB for each message.
func BenchmarkSingle(b *testing.B) {
	w := newBench(b, limits())
	w.singles()
}

func (w *bench) singles() {
	w.batch = w.batch[:0]
	for _, body := range numbered(benchBatch, benchBody) {
		w.batch = append(w.batch, pub("t", body)...)
	}
	w.oks = make([]byte, benchBatch*len(w.oks))
	for range 100 {
		w.publish()
		w.finish()
	}
	for w.b.Loop() {
		w.publish()
		w.finish()
	}
	w.b.ReportMetric(float64(w.b.N)*benchBatch/w.b.Elapsed().Seconds(), "msgs/s")
}

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
	w := newBench(b, l)
	w.singles()
}

// TestAllocations holds the daemon to the benchmark: far less than one
// allocation for a message.
func TestAllocations(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a second")
	}
	r := testing.Benchmark(BenchmarkBatch)
	if n := r.AllocsPerOp(); n > benchBatch/20 {
		t.Errorf("%d allocations for %d messages", n, benchBatch)
	}
}
