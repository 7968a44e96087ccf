package session

import (
	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/audit"
)

// Actor implements audit.Acts: a connection acts for whom it was made. It is called by
// what the reading goroutine does, to which rights belong.
func (s *session) Actor() audit.Actor {
	a := audit.Actor{Via: audit.TCP}
	s.mu.Lock()
	a.From, a.UserAgent = s.client.RemoteAddress, s.client.UserAgent
	s.mu.Unlock()
	switch r := &s.rights; {
	case r.own.Name != "" && r.own.Secret == access.KnownSecret:
		a.Who, a.How = r.own.Name, "token"
	case r.own.Name != "":
		a.Who, a.How = r.own.Name, "certificate"
	case r.grant != nil:
		a.Who, a.How = r.grant.Identity, "auth server"
	}
	return a
}
