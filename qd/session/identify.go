package session

import (
	"encoding/json"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// identify takes in what the client says of itself and asks for. It may be
// said again until SUB; what is zero then keeps what it was.
func (s *session) identify(body []byte) *protocol.Error {
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
	answer, err := json.Marshal(s.negotiate(r))
	if err != nil {
		return protocol.Errorf(protocol.EIdentifyFailed, "IDENTIFY failed %s", err)
	}
	s.respond(protocol.FrameResponse, string(answer))
	return nil
}

// accept checks all that the client asks for before it changes anything.
func (s *session) accept(r protocol.IdentifyRequest) *protocol.Error {
	limits := s.limits
	heartbeat, ok := millis(r.HeartbeatInterval, s.heartbeat, time.Second, s.server.MaxHeartbeatInterval, true)
	if !ok {
		return invalid("heartbeat interval", r.HeartbeatInterval)
	}
	limits.bufferTimeout, ok = millis(r.OutputBufferTimeout, limits.bufferTimeout,
		s.server.MinOutputBufferTimeout, s.server.MaxOutputBufferTimeout, true)
	if !ok {
		return invalid("output buffer timeout", r.OutputBufferTimeout)
	}
	switch n := r.OutputBufferSize; {
	case n == -1:
		limits.bufferSize, limits.bufferTimeout = 1, 0
	case n == 0:
	case n >= 64 && n <= s.server.MaxOutputBufferSize:
		limits.bufferSize = n
	default:
		return invalid("output buffer size", n)
	}
	if r.SampleRate < 0 || r.SampleRate > 99 {
		return invalid("sample rate", int(r.SampleRate))
	}
	limits.msgTimeout, ok = millis(r.MsgTimeout, limits.msgTimeout, time.Second, s.server.MaxMsgTimeout, false)
	if !ok {
		return invalid("msg timeout", r.MsgTimeout)
	}

	s.limits = limits
	s.setHeartbeat(heartbeat)
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.client
	c.ID, c.Hostname, c.UserAgent = r.ClientID, r.Hostname, r.UserAgent
	c.TopologyRegion, c.TopologyZone = r.TopologyRegion, r.TopologyZone
	c.SampleRate, c.MsgTimeout = r.SampleRate, limits.msgTimeout
	return nil
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

// negotiate says what the client gets.
func (s *session) negotiate(r protocol.IdentifyRequest) protocol.IdentifyResponse {
	return protocol.IdentifyResponse{
		MaxRdyCount:         s.server.MaxRdyCount,
		Version:             protocol.Version,
		MaxMsgTimeout:       s.server.MaxMsgTimeout.Milliseconds(),
		MsgTimeout:          s.limits.msgTimeout.Milliseconds(),
		DeflateLevel:        min(6, s.server.MaxDeflateLevel),
		MaxDeflateLevel:     s.server.MaxDeflateLevel,
		SampleRate:          r.SampleRate,
		OutputBufferSize:    s.limits.bufferSize,
		OutputBufferTimeout: s.limits.bufferTimeout.Milliseconds(),
	}
}
