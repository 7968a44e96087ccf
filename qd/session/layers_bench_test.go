package session_test

import (
	"io"
	"net"
	"testing"

	"github.com/millrace-mq/millrace/protocol"
)

// layerBench is bench for clients with layers. What they do is in the figures,
// on another core; they allocate nothing for a message.
type layerBench struct {
	*bench
	pub, con *client
}

func newLayerBench(b *testing.B, ask protocol.IdentifyRequest) *layerBench {
	a := trust(b)
	_, addr := loopback(b, tlsLimits(a))
	dial := func() *client {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		c := newClient(b, conn)
		c.identify(ask, a.client)
		return c
	}
	w := &layerBench{&bench{b: b}, dial(), dial()}
	w.batch = []byte(mpub("t", numbered(benchBatch, benchBody)...))
	w.frames = make([]byte, benchBatch*(protocol.MessageOverhead+benchBody))
	w.oks = make([]byte, len(protocol.AppendFrame(nil, protocol.FrameResponse, protocol.OK)))
	w.con.say("SUB t ch\nRDY 2500\n")
	w.con.wants("OK")
	b.SetBytes(int64(benchBatch * benchBody))
	b.ReportAllocs()
	return w
}

func (w *layerBench) publish() {
	if _, err := w.pub.Write(w.batch); err != nil {
		w.b.Fatal(err)
	}
	if _, err := io.ReadFull(w.pub.r, w.oks); err != nil {
		w.b.Fatal(err)
	}
}

func (w *layerBench) finish() {
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

// BenchmarkLayers is BenchmarkBatch through each stack of layers.
func BenchmarkLayers(b *testing.B) {
	for name, ask := range stacks() {
		b.Run(name, func(b *testing.B) {
			w := newLayerBench(b, ask)
			for range 100 {
				w.publish()
				w.finish()
			}
			for b.Loop() {
				w.publish()
				w.finish()
			}
			b.ReportMetric(float64(b.N)*benchBatch/b.Elapsed().Seconds(), "msgs/s")
		})
	}
}
