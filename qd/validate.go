package qd

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace-mq/millrace/internal/listen"
)

// Validate returns all that is wrong with the settings, joined.
func (s *Settings) Validate() error {
	var errs []error
	complain := complaint(func(ok bool, flag string, value any, rule string) {
		if !ok {
			errs = append(errs, fmt.Errorf("%s %v: must be %s", flag, value, rule))
		}
	})
	s.validateAddresses(complain, &errs)
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
	for _, l := range []struct {
		flag  string
		value int64
	}{
		{"max-connections", int64(s.MaxConnections)}, {"max-connections-per-address", int64(s.MaxConnectionsPerAddress)},
		{"max-publish-bytes-per-second", s.MaxPublishBytes}, {"max-publish-messages-per-second", s.MaxPublishMessages},
		{"client-max-publish-bytes-per-second", s.ClientMaxPublishBytes},
		{"client-max-publish-messages-per-second", s.ClientMaxPublishMessages},
		{"client-max-topics", int64(s.ClientMaxTopics)}, {"client-max-channels", int64(s.ClientMaxChannels)},
	} {
		complain(l.value >= 0, l.flag, l.value, "0 or more")
	}
	s.validateAccess(complain)
	complain(s.LookupConnectTimeout > 0, "http-client-connect-timeout", s.LookupConnectTimeout, "positive")
	complain(s.LookupTimeout > 0, "http-client-request-timeout", s.LookupTimeout, "positive")
	complain(s.MaxOutputBufferSize >= 64, "max-output-buffer-size", s.MaxOutputBufferSize, "64 or more")
	complain(s.MinOutputBufferTimeout >= 0 && s.MinOutputBufferTimeout <= s.MaxOutputBufferTimeout,
		"min-output-buffer-timeout", s.MinOutputBufferTimeout, "0 or more and no longer than max-output-buffer-timeout")
	complain(s.OutputBufferTimeout >= 0, "output-buffer-timeout", s.OutputBufferTimeout, "0 or more")
	s.validateMeasuring(complain)
	complain(s.DrainTimeout >= 0, "drain-timeout", s.DrainTimeout, "0 or more")
	complain(s.StopTimeout >= 0, "stop-timeout", s.StopTimeout, "0 or more")
	return errors.Join(append(errs, s.LogSettings().Check())...)
}

// maxLookupds is how many lookupds there may be: each has a connection and a
// goroutine.
const maxLookupds = 256

// validateAddresses checks where the daemon listens and whom it tells.
func (s *Settings) validateAddresses(complain complaint, errs *[]error) {
	for _, a := range []struct{ flag, list string }{
		{"tcp-address", s.TCPAddress}, {"http-address", s.HTTPAddress}, {"https-address", s.HTTPSAddress},
	} {
		if err := listen.Check(a.list); err != nil {
			*errs = append(*errs, fmt.Errorf("%s %w", a.flag, err))
		}
	}
	complain(len(listen.Split(s.TCPAddress)) > 0, "tcp-address", strconv.Quote(s.TCPAddress), "host:port, or the path of a socket file")
	complain(len(s.LookupdTCPAddresses) <= maxLookupds, "lookupd-tcp-address", len(s.LookupdTCPAddresses), fmt.Sprintf("no more than %d", maxLookupds))
	for _, address := range s.LookupdTCPAddresses {
		if err := listen.CheckRemote(address); err != nil {
			*errs = append(*errs, fmt.Errorf("lookupd-tcp-address %w", err))
		}
	}
	s.validateLookupTLS(complain)
	isPort := func(n int) bool { return n >= 0 && n <= 65535 }
	complain(isPort(s.BroadcastTCPPort), "broadcast-tcp-port", s.BroadcastTCPPort, "from 0 to 65535")
	complain(isPort(s.BroadcastHTTPPort), "broadcast-http-port", s.BroadcastHTTPPort, "from 0 to 65535")
	onNetwork := slices.ContainsFunc(listen.Split(s.TCPAddress), func(a string) bool { return listen.Network(a) == "tcp" })
	complain(onNetwork || s.BroadcastTCPPort != 0 || len(s.LookupdTCPAddresses) == 0, "broadcast-tcp-port", s.BroadcastTCPPort,
		"given, for lookupd registers nobody without a port and the daemon listens at none")
	if s.BroadcastAddress != "" && len(s.LookupdTCPAddresses) > 0 {
		if err := listen.CheckBroadcast(s.BroadcastAddress); err != nil {
			*errs = append(*errs, fmt.Errorf("broadcast-address %q: %w: give one that consumers can connect to", s.BroadcastAddress, err))
		}
	}
}

// validateLookupTLS checks what lookupTLSFlags declares.
func (s *Settings) validateLookupTLS(complain complaint) {
	if !s.LookupdTLS {
		const rule = "given together with --lookupd-tls"
		complain(s.LookupdTLSRootCAFile == "", "lookupd-tls-root-ca-file", strconv.Quote(s.LookupdTLSRootCAFile), rule)
		complain(s.LookupdTLSCert == "", "lookupd-tls-cert", strconv.Quote(s.LookupdTLSCert), rule)
		complain(s.LookupdTLSKey == "", "lookupd-tls-key", strconv.Quote(s.LookupdTLSKey), rule)
		complain(!s.LookupdTLSSkipVerify, "lookupd-tls-insecure-skip-verify", true, rule)
		return
	}
	complain((s.LookupdTLSCert == "") == (s.LookupdTLSKey == ""),
		"lookupd-tls-cert", strconv.Quote(s.LookupdTLSCert), "given together with --lookupd-tls-key, or not at all")
	complain(!s.LookupdTLSSkipVerify || s.LookupdTLSRootCAFile == "",
		"lookupd-tls-insecure-skip-verify", true, "left out with --lookupd-tls-root-ca-file, by which lookupds are verified")
}

// validateMeasuring checks what measureFlags declares.
func (s *Settings) validateMeasuring(complain complaint) {
	if s.StatsdAddress != "" {
		_, port, err := net.SplitHostPort(s.StatsdAddress)
		complain(err == nil && port != "", "statsd-address", s.StatsdAddress, "host:port")
	}
	complain(s.StatsdInterval > 0, "statsd-interval", s.StatsdInterval, "positive")
	complain(!strings.ContainsAny(s.StatsdPrefix, ":|@\n\r\t "), "statsd-prefix", strconv.Quote(s.StatsdPrefix),
		"without spaces and without : | @, which statsd's protocol ends names with")
	complain(s.StatsdUDPPacketSize >= 64 && s.StatsdUDPPacketSize <= 65507, "statsd-udp-packet-size", s.StatsdUDPPacketSize, "from 64 to 65507")
	complain(s.MetricsMaxTopics >= 0, "metrics-max-topics", s.MetricsMaxTopics, "0 or more")
	for _, q := range s.E2EPercentiles {
		complain(q > 0 && q <= 1, "e2e-processing-latency-percentile", q, "above 0 and at most 1")
	}
	complain(s.E2EWindow > 0, "e2e-processing-latency-window-time", s.E2EWindow, "positive")
}

// complaint notes that the flag has a value that is not ok.
type complaint func(ok bool, flag string, value any, rule string)

// validateAccess checks what accessFlags declares.
func (s *Settings) validateAccess(complain complaint) {
	s.CheckTLS(complain)
	complain(s.AccessFile == "" || s.Policy == nil, "access-file", strconv.Quote(s.AccessFile), "left out where a Policy is given")
	complain(s.MaxDeflateLevel >= 1 && s.MaxDeflateLevel <= 9, "max-deflate-level", s.MaxDeflateLevel, "from 1 to 9")
	complain(slices.Contains([]string{"get", "post"}, s.AuthHTTPRequestMethod), "auth-http-request-method", s.AuthHTTPRequestMethod, "get or post")
	for _, name := range s.EnableExperiments {
		complain(name == "topology-aware-consumption", "enable-experiment", name, "topology-aware-consumption")
	}
}
