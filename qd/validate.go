package qd

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"
)

// Validate returns all that is wrong with the settings, joined.
func (s *Settings) Validate() error {
	var errs []error
	complain := complaint(func(ok bool, flag string, value any, rule string) {
		if !ok {
			errs = append(errs, fmt.Errorf("%s %v: must be %s", flag, value, rule))
		}
	})
	hostPort := func(flag, address string) {
		_, _, err := net.SplitHostPort(address)
		complain(err == nil, flag, address, "host:port")
	}
	hostPort("tcp-address", s.TCPAddress)
	hostPort("http-address", s.HTTPAddress)
	for _, address := range s.LookupdTCPAddresses {
		hostPort("lookupd-tcp-address", address)
	}
	complain(s.SegmentBytes >= 1<<20 && s.SegmentBytes <= 1<<30, "segment-bytes", s.SegmentBytes, "from 1048576 to 1073741824")
	complain(s.MinFreeDisk >= 0, "min-free-disk", s.MinFreeDisk, "0 or more")
	complain(s.MemQueueSize >= 0, "mem-queue-size", s.MemQueueSize, "0 or more")
	complain(s.MemLimit > 0, "mem-limit", s.MemLimit, "positive")
	complain(s.MaxBytesPerFile > 0, "max-bytes-per-file", s.MaxBytesPerFile, "positive")
	complain(s.SyncEvery > 0, "sync-every", s.SyncEvery, "positive")
	complain(s.SyncTimeout > 0, "sync-timeout", s.SyncTimeout, "positive")
	complain(s.MaxMsgSize > 0 && s.MaxMsgSize <= 1<<30, "max-msg-size", s.MaxMsgSize, "from 1 to 1073741824")
	complain(s.MaxBodySize > 0 && s.MaxBodySize <= 1<<30, "max-body-size", s.MaxBodySize, "from 1 to 1073741824")
	complain(s.MsgTimeout > 0 && s.MsgTimeout <= s.MaxMsgTimeout, "msg-timeout", s.MsgTimeout, "positive and no longer than max-msg-timeout")
	complain(s.MaxReqTimeout >= 0, "max-req-timeout", s.MaxReqTimeout, "0 or more")
	complain(s.MaxHeartbeatInterval >= time.Second, "max-heartbeat-interval", s.MaxHeartbeatInterval, "1s or more")
	complain(s.MaxRdyCount > 0, "max-rdy-count", s.MaxRdyCount, "positive")
	complain(s.MaxChannelConsumers >= 0, "max-channel-consumers", s.MaxChannelConsumers, "0 or more")
	s.validateAccess(complain)
	complain(s.StatsdInterval > 0, "statsd-interval", s.StatsdInterval, "positive")
	complain(s.StatsdUDPPacketSize >= 64, "statsd-udp-packet-size", s.StatsdUDPPacketSize, "64 or more")
	complain(s.MetricsMaxTopics >= 0, "metrics-max-topics", s.MetricsMaxTopics, "0 or more")
	for _, q := range s.E2EPercentiles {
		complain(q > 0 && q <= 1, "e2e-processing-latency-percentile", q, "above 0 and at most 1")
	}
	complain(s.E2EWindow > 0, "e2e-processing-latency-window-time", s.E2EWindow, "positive")
	complain(s.StopTimeout >= 0, "stop-timeout", s.StopTimeout, "0 or more")
	return errors.Join(errs...)
}

// complaint notes that the flag has a value that is not ok.
type complaint func(ok bool, flag string, value any, rule string)

// validateAccess checks what accessFlags declares.
func (s *Settings) validateAccess(complain complaint) {
	complain((s.TLSCert == "") == (s.TLSKey == ""), "tls-cert", strconv.Quote(s.TLSCert), "given together with --tls-key, or not at all")
	complain(s.TLSCert != "" || s.TLSRequired == "false" && s.TLSClientAuthPolicy == "",
		"tls-required", s.TLSRequired, "given together with --tls-cert and --tls-key")
	complain(slices.Contains([]string{"", "require", "require-verify"}, s.TLSClientAuthPolicy),
		"tls-client-auth-policy", s.TLSClientAuthPolicy, "require or require-verify")
	complain(s.TLSClientAuthPolicy != "require-verify" || s.TLSRootCAFile != "",
		"tls-client-auth-policy", s.TLSClientAuthPolicy, "given together with --tls-root-ca-file")
	complain(slices.Contains([]string{"true", "false", "tcp-https"}, s.TLSRequired), "tls-required", s.TLSRequired, "true, false or tcp-https")
	complain(slices.Contains([]string{"tls1.0", "tls1.1", "tls1.2", "tls1.3"}, s.TLSMinVersion),
		"tls-min-version", s.TLSMinVersion, "tls1.0, tls1.1, tls1.2 or tls1.3")
	complain(s.MaxDeflateLevel >= 1 && s.MaxDeflateLevel <= 9, "max-deflate-level", s.MaxDeflateLevel, "from 1 to 9")
	complain(slices.Contains([]string{"get", "post"}, s.AuthHTTPRequestMethod), "auth-http-request-method", s.AuthHTTPRequestMethod, "get or post")
	for _, name := range s.EnableExperiments {
		complain(name == "topology-aware-consumption", "enable-experiment", name, "topology-aware-consumption")
	}
}
