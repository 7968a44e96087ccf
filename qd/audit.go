package qd

import (
	"context"
	"net"
	"strconv"
	"sync"

	"github.com/millrace-mq/millrace/internal/audit"
	"github.com/millrace-mq/millrace/internal/httpapi"
	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/qd/broker"
)

// This file is what gets into the audit log beside what is asked for over HTTP, which
// httpapi's Router tells of.

// node is how entries name the daemon: as its lookupds do.
func (d *Daemon) node() string {
	return net.JoinHostPort(d.self.BroadcastAddress, strconv.Itoa(d.self.HTTPPort))
}

// beginAudit has the audit log written, and returns what ends that. It outlives all
// others, who have something to say to their end.
func (d *Daemon) beginAudit(ctx context.Context) (end func(error)) {
	writing, stop := context.WithCancel(context.WithoutCancel(ctx))
	var writer sync.WaitGroup
	writer.Go(func() { d.audit.Run(writing) })
	d.did(audit.Itself, "start", "version "+program.Version, nil)
	return func(err error) {
		d.did(audit.Itself, "stop", "", err)
		stop()
		writer.Wait()
	}
}

// did writes down what was done to the daemon as a whole, other than over HTTP.
func (d *Daemon) did(via, action, detail string, err error) {
	d.audit.Put(audit.Did(action, "", "", detail, err).By(audit.Actor{Via: via}))
}

// changed is told of what changes without being asked for by name, and of what consumers
// have done.
func (d *Daemon) changed(ctx context.Context, c broker.Change) {
	if d.audit == nil {
		return
	}
	if deed := httpapi.DeedOf(ctx); deed != nil && audit.ActionOf(deed.Path) == c.Action {
		return // it has a line of its own
	}
	actor := audit.ActorOf(ctx)
	if who, ok := c.Owner.(audit.Acts); ok {
		actor = who.Actor()
	}
	d.audit.Put(audit.Did(c.Action, c.Topic, c.Channel, c.Detail, c.Err).By(actor))
}
