package session

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"time"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/auth"
)

// rights is what a connection may do: by the access file, and by the auth servers,
// which answer to AUTH alone. The reading goroutine owns it.
type rights struct {
	secret string // that AUTH has shown
	shown  bool
	at     time.Time // when the last read came: by it rights have expired or not

	rules *access.Rules // by which own was found; nil before
	own   access.Grant  // by the access file
	grant *auth.Grant   // by the auth servers; nil without AUTH
	// topics are those that were found to be allowed to publish to, so that it is
	// looked for once for a topic, not for a message.
	topics map[string]struct{}
	// renewal is the query under way for a consumer whose grant has expired; nil
	// if there is none.
	renewal *renewal
}

// manyTopics is how many topics rights remembers.
const manyTopics = 1000

// authenticate carries out AUTH. A token of the access file, expired or not, is not shown
// to the auth servers; any other secret is, if there are some.
func (s *session) authenticate(ctx context.Context, secret string) error {
	r := &s.rights
	if r.shown {
		return protocol.Errorf(protocol.EInvalid, "AUTH already set")
	}
	if !s.guarded() {
		return protocol.Errorf(protocol.EAuthDisabled, "AUTH disabled")
	}
	r.secret, r.shown, r.rules = secret, true, nil
	if s.settings.Access != nil && s.byFile().Secret == access.KnownSecret {
		return s.welcome(r.own.Name, "", r.own.Rules())
	}
	if s.settings.Auth != nil && r.own.Secret != access.ExpiredSecret { // which the file may let live longer
		return s.askServers(ctx)
	}
	if r.own.Name != "" { // a certificate says more than a word
		return s.welcome(r.own.Name, "", r.own.Rules())
	}
	if err := s.wrong(ctx, r.own.Secret); err != nil {
		return err
	}
	if r.own.Secret == access.ExpiredSecret {
		return protocol.Errorf(protocol.EUnauthorized, "AUTH failed: the token has expired")
	}
	return protocol.Errorf(protocol.EUnauthorized, "AUTH failed: the token is not known")
}

// askServers is AUTH with a secret that is for the auth servers.
func (s *session) askServers(ctx context.Context) error {
	if err := s.renew(ctx); err != nil {
		return err
	}
	g := s.rights.grant
	if g.Permissions() == 0 {
		if err := s.wrong(ctx, access.UnknownSecret); err != nil {
			return err
		}
	}
	return s.welcome(g.Identity, g.IdentityURL, g.Permissions())
}

// wrong waits as long as somebody has to who has shown many wrong secrets.
func (s *session) wrong(ctx context.Context, why access.Finding) error {
	if err := s.flush(); err != nil {
		return err
	}
	s.settings.Failures.Wrong(ctx, s.who(), why)
	s.heard = true // meanwhile it was not listened to
	return ctx.Err()
}

// welcome answers AUTH. Permissions is the number of rules that are for the client.
func (s *session) welcome(identity, url string, permissions int) error {
	if permissions == 0 {
		return protocol.Errorf(protocol.EUnauthorized, "AUTH no authorizations found")
	}
	answer, err := json.Marshal(protocol.AuthResponse{Identity: identity, IdentityURL: url, PermissionCount: permissions})
	if err != nil {
		return protocol.Errorf(protocol.EAuthError, "AUTH error %s", err)
	}
	s.respond(protocol.FrameResponse, string(answer))
	return nil
}

// guarded reports whether anybody decides what clients may do.
func (s *session) guarded() bool { return s.settings.Auth != nil || s.settings.Access != nil }

// who is at the other end, as far as is known.
func (s *session) who() access.Who {
	var state *tls.ConnectionState
	if s.tls != nil {
		of := s.tls.ConnectionState()
		state = &of
	}
	who := access.Of(s.conn.RemoteAddr().String(), state)
	who.Secret = s.rights.secret
	return who
}

// byFile is what the access file, which there is, lets the client do now.
func (s *session) byFile() *access.Grant {
	r, rules := &s.rights, s.settings.Access.Rules()
	if r.rules == rules && (r.own.Expires.IsZero() || r.at.Before(r.own.Expires)) {
		return &r.own
	}
	r.rules, r.own, r.topics = rules, rules.Grant(s.who(), r.at), nil
	if r.grant == nil {
		s.mu.Lock()
		s.client.Authed, s.client.AuthIdentity = r.own.Name != "", r.own.Name
		s.mu.Unlock()
	}
	return &r.own
}

// fileAllows reports whether the access file allows something. One without rules
// allows everything, but not past the auth servers.
func (s *session) fileAllows(action access.Action, topic, channel string) bool {
	if s.settings.Access == nil {
		return false
	}
	g := s.byFile()
	return (s.settings.Auth == nil || s.rights.rules.Any()) && g.May(action, topic, channel)
}

// authRequired is what IDENTIFY's answer says. Clients AUTH only if it does, and many
// give up then if they have nothing to show. So it is said whenever a secret may be
// of use: not to whoever may publish and subscribe everywhere without one, and not if
// there are no tokens, but certificates.
func (s *session) authRequired() bool {
	if s.settings.Auth == nil && (s.settings.Access == nil || !s.settings.Access.Rules().HasTokens()) {
		return false
	}
	return !s.fileAllows(access.Publish, "", "") || !s.fileAllows(access.Subscribe, "", "")
}

// mayPublish is nil if the client may publish to the topic that the line names.
// For a topic known to be allowed it costs a look into a map.
func (s *session) mayPublish(ctx context.Context, l protocol.Line) error {
	if !s.guarded() {
		return nil
	}
	r := &s.rights
	if _, ok := r.topics[string(l.Args[0])]; ok && s.unchanged() {
		return nil
	}
	topic := string(l.Args[0])
	if !s.fileAllows(access.Publish, topic, "") {
		if err := s.unexpired(ctx, l, topic, ""); err != nil {
			return err
		}
		if !r.grant.MayPublish(topic) {
			return s.unauthorized(l.Name, topic, "")
		}
	}
	if r.topics == nil || len(r.topics) >= manyTopics {
		r.topics = make(map[string]struct{})
	}
	r.topics[topic] = struct{}{}
	return nil
}

// unchanged reports whether nothing has come to an end by which topics were found.
func (s *session) unchanged() bool {
	r := &s.rights
	if a := s.settings.Access; a != nil && (r.rules != a.Rules() || !r.own.Expires.IsZero() && !r.at.Before(r.own.Expires)) {
		return false
	}
	return r.grant == nil || r.at.Before(r.grant.Expires)
}

// maySubscribe is nil if the client may consume from the channel.
func (s *session) maySubscribe(ctx context.Context, l protocol.Line, topic, channel string) error {
	if !s.guarded() || s.fileAllows(access.Subscribe, topic, channel) {
		return nil
	}
	if err := s.unexpired(ctx, l, topic, channel); err != nil {
		return err
	}
	if !s.rights.grant.MaySubscribe(topic, channel) {
		return s.unauthorized(l.Name, topic, channel)
	}
	return nil
}

// mayStay is nil if the consumer still may consume, by the rules that there are now.
func (s *session) mayStay(now time.Time) error {
	if s.guarded() {
		s.rights.at = now
	}
	k, g := s.consumer, s.rights.grant
	if k == nil || s.settings.Access == nil || s.rights.rules == s.settings.Access.Rules() && s.unchanged() {
		return nil
	}
	if s.fileAllows(access.Subscribe, k.Topic(), k.Channel()) || g != nil && g.MaySubscribe(k.Topic(), k.Channel()) {
		return nil
	}
	return s.unauthorized("SUB", k.Topic(), k.Channel())
}

func (s *session) unauthorized(command, topic, channel string) *protocol.Error {
	s.settings.Failures.Refuse()
	return protocol.Errorf(protocol.EUnauthorized, "AUTH failed for %s on %q %q", command, topic, channel)
}

// unexpired sees to it that there is a grant of the auth servers that holds.
func (s *session) unexpired(ctx context.Context, l protocol.Line, topic, channel string) error {
	r := &s.rights
	switch {
	case r.grant != nil && r.at.Before(r.grant.Expires):
		return nil
	case r.grant == nil && (r.shown || r.own.Name != ""):
		return s.unauthorized(l.Name, topic, channel)
	case r.grant == nil:
		s.settings.Failures.Refuse()
		return protocol.Errorf(protocol.EAuthFirst, "AUTH required before %s", l.Name)
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
		if err := s.failed(ctx, err); err != nil {
			return err
		}
		return protocol.Errorf(protocol.EAuthFailed, "AUTH failed")
	}
	return s.hold(g)
}

// failed counts that the auth servers grant nothing. Who was refused may have to wait;
// nobody has for a server that is not there.
func (s *session) failed(ctx context.Context, why error) error {
	if auth.Refused(why) {
		return s.wrong(ctx, access.UnknownSecret)
	}
	s.settings.Failures.Unanswered()
	return nil
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
	if k := s.consumer; k != nil && !g.MaySubscribe(k.Topic(), k.Channel()) && !s.fileAllows(access.Subscribe, k.Topic(), k.Channel()) {
		return s.unauthorized("SUB", k.Topic(), k.Channel())
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
// consume, or a server refuses it. (In nsqd it keeps it until it leaves.) While no
// server answers it stays: that says nothing about its rights, and a server that is
// gone must not take all consumers with it.
func (s *session) recheck(ctx context.Context, now time.Time) error {
	r := &s.rights
	if s.consumer == nil || r.grant == nil {
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
		switch {
		case auth.Refused(q.err) && !s.fileAllows(access.Subscribe, s.consumer.Topic(), s.consumer.Channel()):
			return s.unauthorized("SUB", s.consumer.Topic(), s.consumer.Channel())
		case q.err != nil:
			s.log.Debug("no auth server says whether the consumer may stay", "error", q.err)
			s.settings.Failures.Unanswered()
		default:
			if err := s.hold(q.grant); err != nil {
				return err
			}
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
