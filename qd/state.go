package qd

import (
	"context"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// stateLook is how often lookupds can be told of another state: a disk that
// fails now and then must not have all writers come and go with each of its
// writes.
const stateLook = time.Second

// state is whether the daemon takes publishes.
func (d *Daemon) state() protocol.PeerState {
	switch {
	case d.broker.Refusal() != nil:
		return protocol.PeerDraining
	case d.broker.Health() != nil:
		return protocol.PeerFailing
	}
	return protocol.PeerReady
}

// tellState has lookupds told of the daemon's state until ctx ends: within
// stateLook or, when a drain begins, at once.
func (d *Daemon) tellState(ctx context.Context) {
	look := time.NewTicker(stateLook)
	defer look.Stop()
	begun := d.drain.Begun()
	for told := protocol.PeerReady; ; {
		if now := d.state(); now != told {
			told = now
			d.peers.SetState(now)
		}
		select {
		case <-ctx.Done():
			return
		case <-begun:
			begun = nil // it is closed
		case <-look.C:
		}
	}
}
