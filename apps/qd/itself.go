package main

import "github.com/millrace-mq/millrace/internal/program"

// itself is what the program says of itself.
var itself = program.Program{
	Name:     "qd",
	Synopsis: "keep topics and deliver them to the consumers of their channels",
	About: `Producers publish to topics. Every channel of a topic gets each message, and the consumers
of a channel share them; a message comes again until a consumer has said that it is done with it.
It speaks NSQ's protocol, over TCP (4150) and HTTP (4151), so that any NSQ client works.

It listens on loopback unless it is told otherwise. What a publisher's OK means is
--durability: with disk, the default, a crash of qd loses nothing; with fsync, a power cut neither.

SIGTERM drains: publishes are refused, consumers may finish what there is for --drain-timeout,
and what is left is kept for the next start. SIGINT, or a second SIGTERM, stops at once.`,
	Examples: []program.Example{
		{Does: "keep in ./data what is published", Command: "mkdir -p data && qd --data-path=data"},
		{Does: "serve a network, and be found by consumers through a lookupd", Command: `qd --data-path=data --tcp-address=0.0.0.0:4150 --http-address=0.0.0.0:4151 \
   --broadcast-address=q1.example.com --lookupd-tcp-address=lookup.example.com:4160`},
		{Does: "answer OK only when a message is on the device", Command: "qd --data-path=data --durability=fsync"},
		{Does: "take settings from a file, and one from the environment", Command: "QD_LOG_LEVEL=debug qd --config=/etc/millrace/qd.toml"},
		{Does: "publish a message to one that runs, and see what it has", Command: "curl -d 'hello world' 'http://127.0.0.1:4151/put?topic=test'\ncurl 'http://127.0.0.1:4151/stats'"},
	},
	Sections: []program.Section{
		{Title: "Where it listens, and who is told", Flags: []string{
			"tcp-address", "http-address", "https-address", "unix-socket-mode", "lookupd-tcp-address", "broadcast-address", "broadcast-tcp-port", "broadcast-http-port",
			"topology-region", "topology-zone", "http-client-connect-timeout", "http-client-request-timeout",
		}},
		{Title: "What is kept, and how", Flags: []string{
			"data-path", "durability", "mem-limit", "mem-queue-size", "min-free-disk", "segment-bytes", "max-bytes-per-file", "sync-every", "sync-timeout",
		}},
		{Title: "Messages and clients", Flags: []string{
			"max-msg-size", "max-body-size", "msg-timeout", "max-msg-timeout", "max-req-timeout", "max-rdy-count", "max-channel-consumers", "max-heartbeat-interval",
			"max-output-buffer-size", "output-buffer-timeout", "min-output-buffer-timeout", "max-output-buffer-timeout", "snappy", "deflate", "max-deflate-level",
		}},
		{Title: "How much one client may have", Flags: []string{
			"max-connections", "max-connections-per-address", "max-publish-bytes-per-second", "max-publish-messages-per-second",
			"client-max-publish-bytes-per-second", "client-max-publish-messages-per-second", "client-max-topics", "client-max-channels",
		}},
		{Title: "TLS, and who gets in", Flags: []string{
			"tls-cert", "tls-key", "tls-required", "tls-client-auth-policy", "tls-root-ca-file", "tls-min-version", "access-file", "new-token", "auth-http-address", "auth-http-request-method",
			"audit-file",
			"lookupd-token-file", "lookupd-tls", "lookupd-tls-root-ca-file", "lookupd-tls-cert", "lookupd-tls-key", "lookupd-tls-insecure-skip-verify",
		}},
		{Title: "Figures", Flags: []string{
			"statsd-address", "statsd-interval", "statsd-prefix", "statsd-mem-stats", "statsd-udp-packet-size", "statsd-exclude-ephemeral", "metrics-max-topics",
			"e2e-processing-latency-percentile", "e2e-processing-latency-window-time",
		}},
		{Title: "The process", Flags: []string{"config", "check-config", "print-config", "drain-timeout", "stop-timeout", "log-level", "log-format", "log-prefix"}},
	},
}
