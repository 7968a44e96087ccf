package main

import (
	"github.com/millrace-mq/millrace/apps/internal/link"
	"github.com/millrace-mq/millrace/internal/program"
)

// itself is what the program says of itself.
var itself = program.Program{
	Name:     "pub",
	Synopsis: "publish standard input or files, a message a line",
	About: `Each line of the input is a message; empty ones are skipped, all other bytes are published as they are. What is there goes at once, many
lines in one publish, so that a pipe that trickles is not held up, and one that pours is fast.

pub ends with status 0 only when every message was acknowledged. Otherwise it says which lines were not, and --failed keeps
them in a file that can be published again. A daemon that is away is tried for --retry-for; what was on its way when it went may be there
already, so it may be there twice then, and that is told. A message that a daemon refuses for itself, or that is too large, is left out and told
in the end; the others are published.

With --mode=all, every daemon gets every message, in the order of the input. With --mode=spread each message goes to one of them, or
of those that lookupds list; the order is not kept then.

Ctrl-C ends the reading: what was read is published, and pub says how far it came. A second one ends it at once.`,
	Examples: []program.Example{
		{Does: "publish a line", Command: "echo hello | pub --topic=orders --qd-tcp-address=127.0.0.1:4150"},
		{Does: "publish files, packed or not, with progress, and keep what fails", Command: "pub --topic=orders --qd-tcp-address=127.0.0.1:4150 --file=a.log --file=b.log.gz --failed=failed.log"},
		{Does: "publish again what to_file --format=json has written, to the topics that it came from", Command: "pub --format=json --topic-field=topic --qd-tcp-address=127.0.0.1:4150 --file=orders.log"},
		{Does: "publish NUL-separated records, at most 100 a second, to whichever qd is there", Command: `find . -print0 | pub --delimiter='\0' --rate=100 --topic=files --lookupd-http-address=127.0.0.1:4161`},
		{Does: "have each message delivered in ten minutes", Command: "echo remind | pub --defer=10m --topic=orders --qd-tcp-address=127.0.0.1:4150"},
	},
	Sections: []program.Section{
		{Title: "Where to", Flags: []string{"topic", "topic-field", "qd-tcp-address", "lookupd-http-address", "mode", "defer"}},
		{Title: "Input", Flags: []string{"file", "format", "delimiter", "max-msg-size"}},
		{Title: "How", Flags: []string{"rate", "batch", "retry-for", "failed"}},
		connections(),
	},
	Setup: setup,
}

// connections are the flags of connections, NSQ's options among them.
func connections() program.Section {
	s := new(link.Settings).Section()
	s.Flags = append(s.Flags, "producer-opt")
	return s
}
