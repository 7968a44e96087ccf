package main

import "github.com/millrace-mq/millrace/internal/program"

// itself is what the program says of itself.
var itself = program.Program{
	Name:     "lookupd",
	Synopsis: "tell consumers which queue daemons have a topic",
	About: `Every qd that is given --lookupd-tcp-address registers here (TCP 4160) with its topics and
channels; consumers and tools ask here (HTTP 4161) who has what. Nothing is kept on disk: when it
starts again, each qd tells it all there is within half a minute.

Run two on different machines and give both to every qd and every consumer: one of them is enough.
It listens on loopback unless it is told otherwise.`,
	Examples: []program.Example{
		{Does: "serve a network", Command: "lookupd --tcp-address=0.0.0.0:4160 --http-address=0.0.0.0:4161 --broadcast-address=lookup.example.com"},
		{Does: "use other ports than one that runs already", Command: "lookupd --tcp-address=127.0.0.1:5160 --http-address=127.0.0.1:5161"},
		{Does: "take settings from a file, and one from the environment", Command: "LOOKUPD_LOG_LEVEL=debug lookupd --config=/etc/millrace/lookupd.toml"},
		{Does: "ask one that runs which qd has a topic, and who is registered", Command: "curl 'http://127.0.0.1:4161/lookup?topic=test'\ncurl 'http://127.0.0.1:4161/nodes'"},
	},
	Sections: []program.Section{
		{Title: "Where it listens", Flags: []string{"tcp-address", "http-address", "https-address", "broadcast-address", "unix-socket-mode"}},
		{Title: "Daemons that are silent or gone", Flags: []string{"inactive-producer-timeout", "peer-timeout", "tombstone-lifetime"}},
		{Title: "How much there may be", Flags: []string{"max-connections", "max-connections-per-address", "producer-max-topics", "producer-max-channels"}},
		{Title: "TLS, and who gets in", Flags: []string{"access-file", "new-token", "tls-cert", "tls-key", "tls-required", "tls-client-auth-policy", "tls-root-ca-file", "tls-min-version", "audit-file"}},
		{Title: "The process", Flags: []string{"config", "check-config", "print-config", "log-level", "log-format", "log-prefix"}},
	},
	Setup: setup,
}
