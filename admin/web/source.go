package web

import (
	"context"
	"time"

	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/fleet"
)

// Source knows the daemons; the sampler is one.
type Source interface {
	// Latest is the newest snapshot, never nil; its At is zero before the first.
	Latest() *fleet.Snapshot
	// Changed is closed when there is a newer snapshot than Latest had at the call.
	Changed() <-chan struct{}
	// Clients are the consumers of a channel, the producers of a topic (channel is
	// empty), or the connections of a node (only node is given), and which nodes were
	// asked for them. However many ask, daemons are asked once a period.
	Clients(ctx context.Context, topic, channel, node string) ([]fleet.Client, []audit.Result)
}

// clientsTimeout bounds how long a page waits for connections: the rest of it is there
// already, and a node that hangs must not keep it back.
const clientsTimeout = 2 * time.Second
