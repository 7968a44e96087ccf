package millrace

import (
	"context"
	"fmt"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestWriterSpreads: a batch goes to the daemon that owes least, so that a slow
// one gets little.
func TestWriterSpreads(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		var all []*broker
		var addresses []string
		for i := range 4 {
			address := fmt.Sprint("q:", i+1)
			b := startBroker(t, n.listen(address))
			takingTime(b, time.Millisecond)
			all, addresses = append(all, b), append(addresses, address)
		}
		takingTime(all[3], time.Second)
		w := openWriter(t, n, WriterConfig{Addresses: addresses, MaxInFlight: 100})
		for range 4 { // one by one
			noError(t, w.Publish(t.Context(), "t", []byte("x")))
			synctest.Wait() // until all are connected
		}
		for i, b := range all {
			want(t, fmt.Sprint("first at ", i), len(b.bodies("t")), 1)
		}
		for range 1000 {
			noError(t, w.PublishManyAsync(t.Context(), "t", bytesOf("x", "y"), nil))
		}
		noError(t, w.Flush(t.Context()))
		total := 0
		for i, b := range all {
			got := len(b.bodies("t"))
			total += got
			if i < 3 && (got < 400 || got > 900) || i == 3 && (got == 0 || got > 100) {
				t.Errorf("daemon %d got %d messages", i+1, got)
			}
		}
		want(t, "stored", total, 2004)
	})
}

func TestWriterMaxConnections(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		var addresses []string
		for i := range 10 {
			address := fmt.Sprint("q:", i+1)
			addresses = append(addresses, address)
			startBroker(t, n.listen(address))
		}
		w := openWriter(t, n, WriterConfig{Addresses: addresses, MaxConnections: 3})
		noError(t, w.Publish(t.Context(), "t", []byte("x")))
		pass(time.Minute)
		want(t, "connections", w.Stats().Connections, 3)
		total := 0
		for _, a := range addresses {
			total += n.dialled(a)
		}
		want(t, "ever", total, 3)
	})
}

// TestWriterFailsOver: when a daemon is gone, what it was not sent goes to another,
// and when it is back it is used again.
func TestWriterFailsOver(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		a, b := startBroker(t, n.listen("q:1")), startBroker(t, n.listen("q:2"))
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1", "q:2"}, MaxConnections: 1})
		stored := 0
		for i := range 20 {
			noError(t, w.Publish(t.Context(), "t", fmt.Append(nil, i)))
			stored++
			if i%4 == 3 {
				down, address := a, "q:1"
				if i%8 == 7 {
					down, address = b, "q:2"
				}
				down.stop()
				synctest.Wait()
				noError(t, w.Publish(t.Context(), "t", []byte("x")))
				stored++
				pass(time.Minute)
				down.start(n.listen(address))
			}
		}
		want(t, "stored", len(a.bodies("t"))+len(b.bodies("t")), stored)
	})
}

// TestWriterBacksOff: a daemon that is away is not hammered, and many Writers do not
// come at the same moment.
func TestWriterBacksOff(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		var dialled []time.Duration
		began := time.Now()
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}})
		w.dialer.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			dialled = append(dialled, time.Since(began))
			return n.dial(ctx, network, address)
		}
		noError(t, w.PublishAsync(t.Context(), "t", []byte("x"), nil))
		pass(time.Minute)
		if len(dialled) < 20 || len(dialled) > 45 {
			t.Errorf("it was tried %d times within a minute: %v", len(dialled), dialled)
		}
		var gaps []time.Duration
		for i := 10; i < len(dialled); i++ {
			gaps = append(gaps, dialled[i]-dialled[i-1])
		}
		slices.Sort(gaps)
		if len(slices.Compact(gaps)) < 5 || gaps[0] < lastBackoff/2 || slices.Max(gaps) > lastBackoff {
			t.Errorf("the pauses were %v", gaps)
		}
		startBroker(t, n.listen("q:1"))
		noError(t, w.Flush(t.Context()))
	})
}
