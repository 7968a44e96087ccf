package session

import (
	"context"
	"encoding/json"
	"time"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/auth"
)

// rights is what AUTH has brought a connection. The reading goroutine owns it.
type rights struct {
	secret string
	grant  *auth.Grant // nil before AUTH
	at     time.Time   // when the last read came: by it a grant has expired or not
	// topics are those that grant was found to allow publishing to, so that it is
	// looked through once for a topic, not for a message.
	topics map[string]struct{}
	// renewal is the query under way for a consumer whose grant has expired; nil
	// if there is none.
	renewal *renewal
}

// manyTopics is how many topics rights remembers.
const manyTopics = 1000

// authenticate carries out AUTH.
func (s *session) authenticate(ctx context.Context, secret string) error {
	if s.rights.grant != nil {
		return protocol.Errorf(protocol.EInvalid, "AUTH already set")
	}
	if s.settings.Auth == nil {
		return protocol.Errorf(protocol.EAuthDisabled, "AUTH disabled")
	}
	s.rights.secret = secret
	if err := s.renew(ctx); err != nil {
		return err
	}
	g := s.rights.grant
	if g.Permissions() == 0 {
		return protocol.Errorf(protocol.EUnauthorized, "AUTH no authorizations found")
	}
	answer, err := json.Marshal(protocol.AuthResponse{
		Identity: g.Identity, IdentityURL: g.IdentityURL, PermissionCount: g.Permissions(),
	})
	if err != nil {
		return protocol.Errorf(protocol.EAuthError, "AUTH error %s", err)
	}
	s.respond(protocol.FrameResponse, string(answer))
	return nil
}

// mayPublish is nil if the client may publish to the topic that the line names.
// For a topic known to be allowed it costs a look into a map.
func (s *session) mayPublish(ctx context.Context, l protocol.Line) error {
	if s.settings.Auth == nil {
		return nil
	}
	r := &s.rights
	if _, ok := r.topics[string(l.Args[0])]; ok && r.at.Before(r.grant.Expires) {
		return nil
	}
	topic := string(l.Args[0])
	if err := s.unexpired(ctx, l); err != nil {
		return err
	}
	if !r.grant.MayPublish(topic) {
		return unauthorized(l.Name, topic, "")
	}
	if r.topics == nil || len(r.topics) >= manyTopics {
		r.topics = make(map[string]struct{})
	}
	r.topics[topic] = struct{}{}
	return nil
}

// maySubscribe is nil if the client may consume from the channel.
func (s *session) maySubscribe(ctx context.Context, l protocol.Line, topic, channel string) error {
	if s.settings.Auth == nil {
		return nil
	}
	if err := s.unexpired(ctx, l); err != nil {
		return err
	}
	if !s.rights.grant.MaySubscribe(topic, channel) {
		return unauthorized(l.Name, topic, channel)
	}
	return nil
}

func unauthorized(command, topic, channel string) *protocol.Error {
	return protocol.Errorf(protocol.EUnauthorized, "AUTH failed for %s on %q %q", command, topic, channel)
}

// unexpired sees to it that there is a grant that holds.
func (s *session) unexpired(ctx context.Context, l protocol.Line) error {
	r := &s.rights
	if r.grant == nil {
		return protocol.Errorf(protocol.EAuthFirst, "AUTH required before %s", l.Name)
	}
	if r.at.Before(r.grant.Expires) {
		return nil
	}
	// What came before need not wait for the auth server.
	if err := s.commit(ctx); err != nil {
		return err
	}
	return s.renew(ctx)
}

// renew asks for a grant, and waits for it. Its error is ctx's, or one for the
// client, which must not learn what is wrong with an auth server.
func (s *session) renew(ctx context.Context) error {
	if err := s.flush(); err != nil {
		return err
	}
	g, err := s.settings.Auth.Query(ctx, s.inquiry())
	s.heard = true // meanwhile it was not listened to
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		s.log.Debug("no auth server grants anything", "error", err)
		return protocol.Errorf(protocol.EAuthFailed, "AUTH failed")
	}
	return s.hold(g)
}

// inquiry is what auth servers are told of the client.
func (s *session) inquiry() auth.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return auth.Request{
		Secret: s.rights.secret, CommonName: s.client.CommonName, RemoteAddr: s.client.RemoteAddress, TLS: s.client.TLS,
	}
}

// hold makes g the connection's grant. A consumer that it does not allow to
// consume is refused.
func (s *session) hold(g *auth.Grant) error {
	s.rights.grant, s.rights.topics = g, nil
	s.mu.Lock()
	s.client.Authed = g.Permissions() > 0
	s.client.AuthIdentity, s.client.AuthIdentityURL = g.Identity, g.IdentityURL
	s.mu.Unlock()
	if k := s.consumer; k != nil && !g.MaySubscribe(k.Topic(), k.Channel()) {
		return unauthorized("SUB", k.Topic(), k.Channel())
	}
	return nil
}

// renewal is a query that the reading goroutine does not wait for.
type renewal struct {
	stop  context.CancelFunc
	ended chan struct{} // closed when grant and err are set
	grant *auth.Grant
	err   error
}

// recheck is called at each heartbeat, for a consumer asks for nothing more
// once it has subscribed. If its grant has expired the auth servers are asked,
// and at the heartbeat after that it is refused if it has lost the right to
// consume. (In nsqd it keeps it until it leaves.) While no server answers it
// stays: that says nothing about its rights, and a server that is gone must not
// take all consumers with it.
func (s *session) recheck(ctx context.Context, now time.Time) error {
	r := &s.rights
	if s.settings.Auth == nil || s.consumer == nil {
		return nil
	}
	if q := r.renewal; q != nil {
		select {
		case <-q.ended:
		default:
			return nil
		}
		r.renewal = nil
		q.stop()
		if q.err != nil {
			s.log.Debug("no auth server says whether the consumer may stay", "error", q.err)
		} else if err := s.hold(q.grant); err != nil {
			return err
		}
	}
	if now.Before(r.grant.Expires) {
		return nil
	}
	ctx, stop := context.WithCancel(ctx)
	q, from := &renewal{stop: stop, ended: make(chan struct{})}, s.inquiry()
	r.renewal = q
	go func() { // ends before run does: finish waits for it
		defer close(q.ended)
		q.grant, q.err = s.settings.Auth.Query(ctx, from)
	}()
	return nil
}

// abandon ends the query under way, if there is one.
func (r *rights) abandon() {
	if r.renewal != nil {
		r.renewal.stop()
		<-r.renewal.ended
	}
}
