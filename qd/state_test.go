package qd

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// TestTellStates: lookupds hear of a drain at once, and of a disk that fails and
// works by turns once a second at most.
func TestTellStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		start := time.Now()
		var state atomic.Value
		state.Store(protocol.PeerReady)
		begun, ended := make(chan struct{}), make(chan struct{})
		var told []string
		go func() {
			defer close(ended)
			tellStates(ctx, func() protocol.PeerState { return state.Load().(protocol.PeerState) }, begun, func(s protocol.PeerState) {
				told = append(told, fmt.Sprint(s, " ", time.Since(start)))
			})
		}()
		until := func(at time.Duration, s protocol.PeerState) {
			time.Sleep(at - time.Since(start))
			state.Store(s)
		}
		until(2500*time.Millisecond, protocol.PeerFailing)
		for n := range 30 {
			until(3060*time.Millisecond+time.Duration(n)*150*time.Millisecond, []protocol.PeerState{protocol.PeerReady, protocol.PeerFailing}[n%2])
		}
		until(8300*time.Millisecond, protocol.PeerDraining)
		close(begun)
		synctest.Wait()
		time.Sleep(time.Minute)
		cancel()
		<-ended
		if want := "[failing 3s ready 4s failing 6s ready 7s failing 8s draining 8.3s]"; fmt.Sprint(told) != want {
			t.Errorf("told %v, want %s", told, want)
		}
	})
}
