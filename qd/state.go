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

// tellStates has what now says told whenever it has changed, until ctx ends:
// within stateLook or, once begun is closed, at once. It is ready at first.
func tellStates(ctx context.Context, now func() protocol.PeerState, begun <-chan struct{}, tell func(protocol.PeerState)) {
	look := time.NewTicker(stateLook)
	defer look.Stop()
	for told := protocol.PeerReady; ; {
		if s := now(); s != told {
			told = s
			tell(s)
		}
		select {
		case <-ctx.Done():
			return
		case <-begun:
			begun = nil // it stays closed
		case <-look.C:
		}
	}
}
