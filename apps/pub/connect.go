package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	millrace "github.com/millrace-mq/millrace/clients/go"
)

// window is how many publishes may be on their way to a daemon. Those of one message,
// as the deferred are, may be more.
const (
	window       = 50
	windowSingle = 1000
)

// newSinks returns where messages go. base has what they have in common.
func (s *settings) newSinks(base delivery) []sink {
	if s.deferred > 0 {
		base.window = windowSingle
	}
	slices.Sort(s.daemons)
	daemons := slices.Compact(s.daemons)
	if s.mode.Value == modeSpread || len(s.lookupds) > 0 {
		base.name = strings.Join(append(slices.Clone(daemons), s.lookupds...), ", ")
		base.open = func() (publisher, error) { return s.connectToMany(daemons) }
		return []sink{newSpread(base)}
	}
	var all []sink
	for _, address := range daemons {
		base.name = address
		base.open = func() (publisher, error) { return s.connectOnce(address) }
		all = append(all, newLane(base))
	}
	return all
}

// connectToMany returns a Writer that chooses among daemons.
func (s *settings) connectToMany(daemons []string) (publisher, error) {
	c := s.writer
	c.Addresses, c.Lookupds = daemons, s.lookupds
	c.LookupInterval = 15 * time.Second
	c.MaxConnections = 64
	c.MaxInFlightBytes = 2 * windowBytes
	c.RetryFor = max(s.retryFor, time.Second) // what it takes to find and to connect to one
	c.CloseTimeout = time.Second
	return millrace.NewWriter(c)
}

// connectOnce returns a Writer whose connection is its only one.
func (s *settings) connectOnce(address string) (publisher, error) {
	var used atomic.Bool
	c := s.writer
	c.Addresses = []string{address}
	c.RetryFor = -1
	c.CloseTimeout = time.Second
	if !s.log.Enabled(context.Background(), slog.LevelInfo) {
		c.Log = nil // its warnings are what the lane tells anyway
	}
	c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if used.Swap(true) {
			return nil, errLost
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	w, err := millrace.NewWriter(c)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", address, err)
	}
	return w, nil
}
