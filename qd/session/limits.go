package session

import (
	"context"
	"errors"

	"github.com/millrace-mq/millrace/internal/limit"
	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/limits"
)

// called is what the limits know the client by: whom an auth server takes it for or, where
// that is not known, where it comes from.
func (s *session) called() string {
	s.mu.Lock()
	name, address := s.client.AuthIdentity, s.client.RemoteAddress
	s.mu.Unlock()
	return limits.Client(name, limit.RemoteOf(address))
}

// admit asks whether what was gathered may be published now. While it waits nothing more
// is read, so what comes behind stays behind.
func (s *session) admit(ctx context.Context) error {
	all := s.server.Limits
	if !all.Publishing() {
		return nil
	}
	load := limits.LoadOf(s.pubs.bodies)
	for i := range s.pubs.later {
		load.Bytes += int64(len(s.pubs.later[i].Body))
	}
	load.Messages += int64(len(s.pubs.later))
	return all.Admit(ctx, s.pubs.topic, s.called(), load)
}

// outlives reports whether the connection goes on after a publish that has failed with
// err. It does if a limit was all that was wrong: each command gets the error for its answer,
// as NSQ's producers expect, and those behind it are carried out.
//
// It does not for a client of the extension, which knows that after a failed publish nothing
// more is carried out and has sent others behind it that it would send again; nor for one
// that consumes, for it may have sent a FIN behind it because it had published.
func (s *session) outlives(err error) bool {
	if s.limits.extended || s.consumer != nil {
		return false
	}
	_, early := errors.AsType[*limits.RateError](err)
	_, over := errors.AsType[*limits.QuotaError](err)
	return early || over
}

// publishFailed is what a client is told whose publish has failed.
func publishFailed(v protocol.Verb, err error) *protocol.Error {
	switch v {
	case protocol.MPub:
		return protocol.Errorf(protocol.EMPubFailed, "MPUB failed %s", err)
	case protocol.DPub:
		return protocol.Errorf(protocol.EDPubFailed, "DPUB failed %s", err)
	}
	return protocol.Errorf(protocol.EPubFailed, "PUB failed %s", err)
}
