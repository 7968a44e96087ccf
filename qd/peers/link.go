package peers

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
	"time"
)

const (
	// pingInterval is NSQ's. A lookupd stops listing a daemon that it has not
	// heard a PING from for five minutes.
	pingInterval = 15 * time.Second

	// A lost lookupd is tried again after minPause, then after longer and
	// longer pauses. Each is shortened at random by up to a half, so that the
	// daemons of a cluster do not all come back at once.
	minPause = 100 * time.Millisecond
	maxPause = 15 * time.Second

	// batch is how many commands are sent before the first reply is waited for.
	batch = 512
)

// link keeps one lookupd informed. Its goroutine owns it, but for the fields
// that say otherwise.
type link struct {
	*Peers
	address string
	dismiss context.CancelFunc
	news    chan struct{} // there is a new roster; anyone signals it

	// web is the address of the lookupd's HTTP face while the link stands, else
	// nil; anyone reads it.
	web  atomic.Pointer[string]
	lost bool // and said so
}

// run keeps the link up until ctx ends.
func (l *link) run(ctx context.Context) {
	pause := minPause
	for {
		informed, err := l.attend(ctx)
		if ctx.Err() != nil {
			return
		}
		if informed {
			pause = minPause
		}
		l.complain(err)
		wait(ctx, pause/2+rand.N(pause/2))
		pause = min(2*pause, maxPause)
	}
}

// complain logs a failure: loudly, unless the one before was no success.
func (l *link) complain(err error) {
	if l.lost {
		l.Log.Debug("lookupd is still out of reach", "lookupd", l.address, "error", err)
		return
	}
	l.lost = true
	l.Log.Warn("lookupd is out of reach; trying again", "lookupd", l.address, "error", err)
}

// attend makes a connection and keeps the lookupd informed over it until it
// fails or ctx ends. informed reports whether the lookupd had everything once.
func (l *link) attend(ctx context.Context) (informed bool, err error) {
	conn, err := l.dial(ctx, "tcp", l.address)
	if err != nil {
		return false, err
	}
	c, hangUp := converse(ctx, conn, l.RequestTimeout)
	defer hangUp()
	info, err := c.introduce(l.Self())
	if err != nil {
		return false, err
	}
	if info.BroadcastAddress != "" && info.HTTPPort > 0 {
		web := net.JoinHostPort(info.BroadcastAddress, strconv.Itoa(info.HTTPPort))
		l.web.Store(&web)
		defer l.web.Store(nil)
	}
	ping := time.NewTicker(pingInterval)
	defer ping.Stop()
	for told := new(roster); ; {
		if told, err = l.tell(c, told); err != nil {
			return informed, err
		}
		if !informed {
			informed, l.lost = true, false
			l.Log.Info("registered with lookupd", "lookupd", l.address, "topics", len(told.topics), "version", info.Version)
		}
		select {
		case <-l.news:
		case <-ping.C:
			err = c.ask([]byte("PING\n"), 1)
		case _, open := <-c.replies:
			if err = c.lost; open {
				err = errors.New("lookupd replied without being asked")
			}
		}
		if err != nil {
			return informed, err
		}
	}
}

// tell sends what has changed since told, and returns what is told then.
func (l *link) tell(c *conversation, told *roster) (*roster, error) {
	newest := l.roster.Load()
	if newest == told {
		return told, nil
	}
	var lines []byte
	commands := told.changes(newest)
	for len(commands) > 0 {
		n := min(len(commands), batch)
		lines = lines[:0]
		for _, command := range commands[:n] {
			lines = command.appendTo(lines)
		}
		commands = commands[n:]
		if err := c.ask(lines, n); err != nil {
			return told, err
		}
	}
	return newest, nil
}
