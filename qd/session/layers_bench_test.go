package session_test

import (
	"net"
	"testing"
)

// BenchmarkLayers is BenchmarkBatch through each stack of layers. What the
// clients do is in the figures, on another core; they allocate nothing for a
// message.
func BenchmarkLayers(b *testing.B) {
	for name, ask := range stacks(1, 6, 9) {
		b.Run(name, func(b *testing.B) {
			a := trust(b)
			_, addr := loopback(b, tlsLimits(a))
			newBench(b, func() end {
				conn, err := net.Dial("tcp", addr)
				if err != nil {
					b.Fatal(err)
				}
				c := newClient(b, conn)
				c.identify(ask, a.client)
				return end{c, c.r}
			}).measure(b)
		})
	}
}
