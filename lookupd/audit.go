package lookupd

import (
	"context"
	"net"
	"strconv"
	"sync"

	"github.com/millrace-mq/millrace/internal/audit"
	"github.com/millrace-mq/millrace/internal/program"
)

// This file is what gets into the audit log beside what is asked for over HTTP, which
// httpapi's Router tells of. What daemons register is not in it: they have lines of
// their own about what they create and delete.

// openAudit opens the audit file, if there is to be one.
func (d *Daemon) openAudit(s *Settings) (err error) {
	node := net.JoinHostPort(s.broadcastHost(hostname()), strconv.Itoa(max(d.web.Port(), 0)))
	d.audit, err = audit.Open(s.AuditFile, node, d.log)
	return err
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

// did writes down what was done to the lookupd as a whole, other than over HTTP.
func (d *Daemon) did(via, action, detail string, err error) {
	d.audit.Put(audit.Did(action, "", "", detail, err).By(audit.Actor{Via: via}))
}

// tell writes down that a daemon has come or gone: consumers are led to it, or no more.
func (s *session) tell(action, detail string) {
	if s.audit == nil {
		return
	}
	a := audit.Actor{From: s.who.Remote, Via: audit.TCP}
	a.Who, a.How = audit.Name(s.policy, s.who)
	e := audit.Did(action, "", "", detail, nil).By(a)
	e.Node = s.peer.String()
	s.audit.Put(e)
}
