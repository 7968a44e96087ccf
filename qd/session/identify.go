package session

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/broker"
)

// maxSelf is how many bytes of each thing that a client says of itself, or wrongly,
// are kept or logged: it is for people to read, and a body may have millions.
const maxSelf = 1 << 10

// identify takes in what the client says of itself and asks for, and sets up
// the layers that it gets. It may be said again until SUB; what is zero then
// keeps what it was.
func (s *session) identify(ctx context.Context, body []byte) error {
	r, err := protocol.ParseIdentify(body)
	if err != nil {
		return protocol.Errorf(protocol.EBadBody, "IDENTIFY failed to decode JSON body")
	}
	if err := s.accept(r); err != nil {
		return err
	}
	if !r.FeatureNegotiation {
		s.respond(protocol.FrameResponse, protocol.OK)
		return nil
	}
	u := s.grant(r)
	if u.snappy && u.deflate {
		return protocol.Errorf(protocol.EIdentifyFailed, "cannot enable both deflate and snappy compression")
	}
	answer, err := json.Marshal(s.negotiate(r, u))
	if err != nil {
		return protocol.Errorf(protocol.EIdentifyFailed, "IDENTIFY failed %s", err)
	}
	s.respond(protocol.FrameResponse, string(answer))
	return s.upgrade(ctx, u)
}

// accept checks all that the client asks for before it changes anything.
func (s *session) accept(r protocol.IdentifyRequest) *protocol.Error {
	limits := s.limits
	heartbeat, ok := millis(r.HeartbeatInterval, s.heartbeat, time.Second, s.settings.MaxHeartbeatInterval, true)
	if !ok {
		return invalid("heartbeat interval", r.HeartbeatInterval)
	}
	limits.bufferTimeout, ok = millis(r.OutputBufferTimeout, limits.bufferTimeout,
		s.settings.MinOutputBufferTimeout, s.settings.MaxOutputBufferTimeout, true)
	if !ok {
		return invalid("output buffer timeout", r.OutputBufferTimeout)
	}
	switch n := r.OutputBufferSize; {
	case n == -1:
		limits.bufferSize, limits.bufferTimeout = 1, 0
	case n == 0:
	case n >= 64 && n <= s.settings.MaxOutputBufferSize:
		limits.bufferSize = n
	default:
		return invalid("output buffer size", n)
	}
	if r.SampleRate < 0 || r.SampleRate > 99 {
		return invalid("sample rate", int(r.SampleRate))
	}
	limits.msgTimeout, ok = millis(r.MsgTimeout, limits.msgTimeout, time.Second, s.settings.MaxMsgTimeout, false)
	if !ok {
		return invalid("msg timeout", r.MsgTimeout)
	}
	if err := limits.extend(r); err != nil {
		return err
	}

	s.limits = limits
	s.setHeartbeat(heartbeat)
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.client
	c.ID, c.Hostname, c.UserAgent = short(r.ClientID), short(r.Hostname), short(r.UserAgent)
	c.TopologyRegion, c.TopologyZone = short(r.TopologyRegion), short(r.TopologyZone)
	c.SampleRate, c.MsgTimeout = r.SampleRate, limits.msgTimeout
	return nil
}

// extend takes in what a client asks for that speaks the extension. One that is not
// answered about it, for want of feature negotiation, does not.
func (i *identified) extend(r protocol.IdentifyRequest) *protocol.Error {
	if r.Extension == nil || !r.FeatureNegotiation {
		return nil
	}
	i.extended = true
	if text := r.Extension.ChannelStart; text != "" {
		start, err := broker.ParsePlace(text)
		if err != nil {
			return protocol.Errorf(protocol.EBadBody, "IDENTIFY channel start (%s) %s", short(text), err)
		}
		i.start = &start
	}
	return nil
}

// short cuts what is too long, and lets go of the rest.
func short(text string) string {
	if len(text) <= maxSelf {
		return text
	}
	return strings.ToValidUTF8(strings.Clone(text[:maxSelf]), "")
}

func (s *session) setHeartbeat(d time.Duration) {
	if d == s.heartbeat {
		return
	}
	s.heartbeat = d
	s.out.patience = d
	s.out.deadline = time.Time{}
	_ = s.conn.SetWriteDeadline(time.Time{})
	s.nextBeat = time.Now().Add(d)
	// Makes the next read look at the new interval at once.
	_ = s.conn.SetReadDeadline(past)
}

// millis reads a time that a client asks for: 0 keeps what it is and -1, where
// that is allowed, switches it off.
func millis(asked int, is, least, most time.Duration, canBeOff bool) (time.Duration, bool) {
	switch {
	case asked == 0:
		return is, true
	case asked == -1 && canBeOff:
		return 0, true
	case asked < int(least.Milliseconds()) || asked > int(most.Milliseconds()):
		return is, false
	}
	return time.Duration(asked) * time.Millisecond, true
}

func invalid(what string, n int) *protocol.Error {
	return protocol.Errorf(protocol.EBadBody, "IDENTIFY %s (%d) is invalid", what, n)
}

// upgrade is what a client gets of the layers that it asks for.
type upgrade struct {
	tls, snappy, deflate bool
	level                int // of deflate; told in any case
}

// grant decides which layers the client gets. Each is set up once: said again,
// IDENTIFY asks for what there is already.
func (s *session) grant(r protocol.IdentifyRequest) upgrade {
	u := upgrade{
		tls:     r.TLSv1 && s.settings.TLS != nil && s.tls == nil && s.pack == nil,
		snappy:  r.Snappy && s.settings.Snappy && s.pack == nil,
		deflate: r.Deflate && s.settings.Deflate && s.pack == nil,
		level:   6,
	}
	if u.deflate && r.DeflateLevel > 0 {
		u.level = r.DeflateLevel
	}
	u.level = min(u.level, s.settings.MaxDeflateLevel)
	return u
}

// negotiate says what the client gets.
func (s *session) negotiate(r protocol.IdentifyRequest, u upgrade) protocol.IdentifyResponse {
	var extension *protocol.ExtensionResponse
	if r.Extension != nil {
		extension = &protocol.ExtensionResponse{
			MaxMsgSize:    int64(s.settings.MaxMsgSize),
			MaxBodySize:   int64(s.settings.MaxBodySize),
			MaxReqTimeout: s.settings.MaxReqTimeout.Milliseconds(),
			WholeBatches:  true,
			Seek:          true,
		}
	}
	return protocol.IdentifyResponse{
		MaxRdyCount:         s.settings.MaxRdyCount,
		Version:             protocol.Version,
		MaxMsgTimeout:       s.settings.MaxMsgTimeout.Milliseconds(),
		MsgTimeout:          s.limits.msgTimeout.Milliseconds(),
		TLSv1:               u.tls,
		Deflate:             u.deflate,
		DeflateLevel:        u.level,
		MaxDeflateLevel:     s.settings.MaxDeflateLevel,
		Snappy:              u.snappy,
		SampleRate:          r.SampleRate,
		AuthRequired:        s.authRequired(),
		OutputBufferSize:    s.limits.bufferSize,
		OutputBufferTimeout: s.limits.bufferTimeout.Milliseconds(),
		TopologyRegion:      s.settings.Region,
		TopologyZone:        s.settings.Zone,
		Extension:           extension,
	}
}
