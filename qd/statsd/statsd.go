// Package statsd pushes a daemon's figures to a statsd server, under the names
// that nsqd gives them.
package statsd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/millrace-mq/millrace/qd/stats"
)

// Config is what Run needs to know. All of it must be set.
type Config struct {
	Address          string        // host:port; resolved anew each time
	Interval         time.Duration // between pushes; positive
	Prefix           string        // of all names; see Prefix
	PacketSize       int           // bytes that a packet may have; a line that is longer goes alone
	MemStats         bool          // push figures of Go's memory, too
	ExcludeEphemeral bool          // leave out ephemeral topics and channels
	Gather           func() stats.Daemon
	// Dial connects to Address, until its context ends; that of net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	Log  *slog.Logger
}

// reserve is how much of an interval is left free behind the last packet, and
// the most that connecting may take.
const reserve = time.Second

// Prefix is what stands before names: the pattern with %s replaced by the daemon's
// host and HTTP port, as nsqadmin looks for it, and a dot.
func Prefix(pattern, host string, port int) string {
	key := strings.NewReplacer(".", "_", ":", "_").Replace(net.JoinHostPort(host, strconv.Itoa(port)))
	prefix := strings.ReplaceAll(pattern, "%s", key)
	if prefix != "" && !strings.HasSuffix(prefix, ".") {
		prefix += "."
	}
	return prefix
}

// Run pushes once an interval until ctx ends, and returns nil. A server that
// cannot be reached is logged when that begins and when it ends. Counts that
// could not be pushed because there was no connection go with the next ones.
func Run(ctx context.Context, c Config) error {
	tick := time.NewTicker(c.Interval)
	defer tick.Stop()
	p := pusher{Config: c}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			p.report(p.push(ctx))
		}
	}
}

type pusher struct {
	Config
	counts  counts
	failing bool
}

// report logs that pushing has begun to fail, or works again.
func (p *pusher) report(err error) {
	switch {
	case err != nil && !p.failing && !errors.Is(err, context.Canceled):
		p.Log.Warn("cannot push to statsd; trying again every interval", "address", p.Address, "interval", p.Interval, "error", err)
	case err == nil && p.failing:
		p.Log.Info("pushing to statsd works again", "address", p.Address)
	}
	p.failing = err != nil
}

// push sends all figures, spread over the interval: a burst of thousands of
// packets would be lost in the server's buffer. Of its errors it returns the
// first.
func (p *pusher) push(ctx context.Context) error {
	patience, cancel := context.WithTimeout(ctx, min(reserve, p.Interval))
	defer cancel()
	conn, err := p.Dial(patience, "udp", p.Address)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	b := batch{prefix: p.Prefix, size: p.PacketSize}
	p.render(&b, p.Gather())
	pause := (p.Interval - reserve) / time.Duration(max(1, len(b.packets())))
	for i, packet := range b.packets() {
		if i > 0 && pause > 0 {
			wait(ctx, pause)
		}
		if _, failed := conn.Write(packet); failed != nil && err == nil {
			err = fmt.Errorf("sending: %w", failed)
		}
	}
	if closed := conn.Close(); err == nil && closed != nil {
		err = fmt.Errorf("closing: %w", closed)
	}
	return err
}

// wait waits, but not once ctx has ended: what is left is sent at once then.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
