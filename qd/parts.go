package qd

import (
	"cmp"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"slices"

	"github.com/millrace-mq/millrace/internal/limit"
	"github.com/millrace-mq/millrace/internal/listen"
	"github.com/millrace-mq/millrace/internal/secure"
	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/broker"
	"github.com/millrace-mq/millrace/qd/limits"
	"github.com/millrace-mq/millrace/qd/peers"
	"github.com/millrace-mq/millrace/qd/session"
)

// This file is what the settings mean to the parts of a daemon.

func (s *Settings) dataPath() string { return cmp.Or(s.DataPath, ".") }

// ofBroker are those of the broker. channels asks the lookupds for a new topic's, changed
// writes down what becomes different.
func (s *Settings) ofBroker(
	channels func(context.Context, string) (channels, unheard []string), changed func(context.Context, broker.Change), log *slog.Logger,
) broker.Settings {
	return broker.Settings{
		DataPath:         s.dataPath(),
		Durability:       s.Durability,
		SegmentBytes:     s.SegmentBytes,
		MinFree:          s.MinFreeDisk,
		MemoryMessages:   s.MemQueueSize,
		MemoryBytes:      s.MemLimit,
		FileBytes:        s.MaxBytesPerFile,
		SyncEvery:        s.SyncEvery,
		SyncTimeout:      s.SyncTimeout,
		MaxMsgTimeout:    s.MaxMsgTimeout,
		Percentiles:      s.E2EPercentiles,
		PercentileWindow: s.E2EWindow,
		PreferNear:       slices.Contains(s.EnableExperiments, "topology-aware-consumption"),
		Region:           s.TopologyRegion,
		Zone:             s.TopologyZone,
		Channels:         channels,
		Changed:          changed,
		Log:              log,
	}
}

// ofLimits are those of what clients may have.
func (s *Settings) ofLimits() limits.Settings {
	return limits.Settings{
		Connections:           s.MaxConnections,
		ConnectionsPerAddress: s.MaxConnectionsPerAddress,
		Topic:                 limit.Rates{Bytes: limit.Rate(s.MaxPublishBytes), Messages: limit.Rate(s.MaxPublishMessages)},
		Client:                limit.Rates{Bytes: limit.Rate(s.ClientMaxPublishBytes), Messages: limit.Rate(s.ClientMaxPublishMessages)},
		Topics:                s.ClientMaxTopics,
		Channels:              s.ClientMaxChannels,
	}
}

// lookupTLS is how lookupds are spoken to over TLS; nil if they are not.
func (s *Settings) lookupTLS(log *slog.Logger) (func(serverName string) *tls.Config, error) {
	if !s.LookupdTLS {
		return nil, nil
	}
	return secure.Client(secure.ClientFiles{
		Prefix: "lookupd-", Cert: s.LookupdTLSCert, Key: s.LookupdTLSKey, RootCA: s.LookupdTLSRootCAFile,
		SkipVerify: s.LookupdTLSSkipVerify,
	}, log)
}

// ofPeers are those of the links to lookupds.
func (s *Settings) ofPeers(over func(string) *tls.Config, self func() protocol.PeerInfo, log *slog.Logger) peers.Config {
	return peers.Config{
		Addresses:      s.LookupdTCPAddresses,
		Self:           self,
		ConnectTimeout: s.LookupConnectTimeout,
		RequestTimeout: s.LookupTimeout,
		Dial:           listen.Dial,
		Resolve:        net.DefaultResolver.LookupHost,
		TLS:            over,
		Token:          token(s.LookupdTokenFile),
		Log:            log,
	}
}

// ofSessions are those of V2 connections, but for what is made of files and
// addresses: TLS and Auth.
func (s *Settings) ofSessions() session.Settings {
	return session.Settings{
		MaxMsgSize:             s.MaxMsgSize,
		MaxBodySize:            s.MaxBodySize,
		MsgTimeout:             s.MsgTimeout,
		MaxMsgTimeout:          s.MaxMsgTimeout,
		MaxReqTimeout:          s.MaxReqTimeout,
		MaxHeartbeatInterval:   s.MaxHeartbeatInterval,
		MaxRdyCount:            s.MaxRdyCount,
		MaxChannelConsumers:    s.MaxChannelConsumers,
		OutputBufferTimeout:    s.OutputBufferTimeout,
		MinOutputBufferTimeout: s.MinOutputBufferTimeout,
		MaxOutputBufferTimeout: s.MaxOutputBufferTimeout,
		MaxOutputBufferSize:    s.MaxOutputBufferSize,
		TLSRequired:            s.RequiresTLS() != "false",
		Snappy:                 s.Snappy,
		Deflate:                s.Deflate,
		MaxDeflateLevel:        s.MaxDeflateLevel,
		Region:                 s.TopologyRegion,
		Zone:                   s.TopologyZone,
	}
}
