package main

import "github.com/millrace-mq/millrace/internal/program"

// itself is what the program says of itself.
var itself = program.Program{
	Name:     "standalone",
	Synopsis: "run qd, lookupd and admin in one process",
	About: `A whole Millrace, to try things and to develop against: the queue daemon (TCP 4150,
HTTP 4151), the lookupd that it registers with (TCP 4160, HTTP 4161), and the admin that shows both
(HTTP 4171), all on loopback. What is published is kept in ./data.

SIGTERM drains as qd's does; Ctrl-C stops, and loses nothing that is stored.`,
	Examples: []program.Example{
		{Does: "run it; the dashboard is at http://127.0.0.1:4171/", Command: "standalone"},
		{Does: "run another one beside it, with its data elsewhere, and no dashboard", Command: `standalone --data-path=/tmp/millrace --tcp-address=127.0.0.1:5150 --http-address=127.0.0.1:5151 \
   --lookupd-tcp-address=127.0.0.1:5160 --lookupd-http-address=127.0.0.1:5161 --admin-http-address=`},
		{Does: "publish a message to it, and see that it is there", Command: "curl -d 'hello world' 'http://127.0.0.1:4151/put?topic=test'\ncurl 'http://127.0.0.1:4151/stats?topic=test'"},
	},
	Sections: []program.Section{
		{Title: "Where it listens", Flags: []string{"tcp-address", "http-address", "lookupd-tcp-address", "lookupd-http-address", "admin-http-address"}},
		{Title: "What is kept, and how", Flags: []string{
			"data-path", "durability", "mem-limit", "mem-queue-size", "min-free-disk", "segment-bytes", "max-bytes-per-file", "sync-every", "sync-timeout",
		}},
		{Title: "Who may do what, and who has done what", Flags: []string{"access-file", "new-token", "token-file", "audit-file"}},
		{Title: "The process", Flags: []string{"config", "check-config", "print-config", "drain-timeout", "log-level", "log-format"}},
	},
}
