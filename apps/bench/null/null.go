// Package null is a broker that only parses and answers: what a client, the
// kernel and the wire allow on a machine, and so the ceiling that a real
// broker is measured against.
//
// Publishes are checked as a broker must check them, answered, and forgotten.
// A subscriber is sent frames built beforehand as long as its RDY credit
// lasts; its FINs are counted and renew the credit. Nothing connects the two:
// deliveries never run out.
package null

import (
	"context"
	"fmt"
	"net"
	"sync"

	"github.com/millrace-mq/millrace/protocol"
)

// Version is what the null broker calls itself in the answer to IDENTIFY.
const Version = "0.0.0-null"

// maxRDY is nsqd's.
const maxRDY = 2500

// Run serves connections from l until ctx ends, and returns when the last has
// ended. It closes l. Messages delivered have bodies of size bytes. It returns
// nil when ctx ended it.
func Run(ctx context.Context, l net.Listener, size int) error {
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	deliveries := newDeliveries(size)
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			_ = l.Close()
			return fmt.Errorf("accepting connections on %s: %w", l.Addr(), err)
		}
		wg.Go(func() { serve(ctx, c, deliveries) })
	}
}

// deliveries is message frames side by side, as many as a consumer may have.
type deliveries struct {
	frames []byte
	frame  int // bytes of one
}

func newDeliveries(size int) deliveries {
	d := deliveries{frame: protocol.MessageOverhead + size}
	body := make([]byte, size)
	for i := range uint64(maxRDY) {
		d.frames = protocol.AppendMessage(d.frames, 1, 1, i, body)
	}
	return d
}

// run returns at most n frames and how many they are.
func (d deliveries) run(n int64) ([]byte, int64) {
	n = min(n, maxRDY)
	return d.frames[:n*int64(d.frame)], n
}
