// To_qd moves messages from topics to another queue daemon or cluster, of Millrace or of NSQ.
// A message is finished at its source only when a destination has acknowledged it, so
// whatever fails between them loses none.
package main

import (
	"context"
	"errors"
	"flag"

	"github.com/millrace-mq/millrace/internal/program"
)

// itself is what the program says of itself.
var itself = program.Program{
	Name:     "to_qd",
	Synopsis: "move messages from topics to another queue daemon or cluster",
	About: `Each topic's messages are consumed from a channel (--channel) and published to a topic of the same name, or of another
(--destination-topic, --rename). Either side may be Millrace or NSQ.

A message is finished at its source when the destination has acknowledged it, and not before. While no destination takes
messages, those that were delivered are held (the source is asked for more time), nothing new is asked for, and the destination is
tried again until it answers; a warning says so once a minute. Before they have been held for as long as the source allows (its
--max-msg-timeout, 15 minutes), they go back to their channel. A message may arrive twice: when a connection broke before the
acknowledgement came, or when to_qd was killed. It arrives with a new ID, a new timestamp and one attempt.

A message that the destination does not take (too large for it) goes back to its channel for a while; --refused says what
else can be done. Messages that filters do not let pass, and for a filter or --whitelist-json-field those that are no JSON object,
are finished and not sent.

--ordered keeps the order in which one source daemon delivers: nothing is published before what was delivered before it is
acknowledged, and what fails is tried again in its place. It needs one destination daemon. The order of what is in
flight is lost when the connection to the source breaks, since the source delivers that again among newer messages, and when to_qd is
killed, or ended while the destination is away. Duplicates come behind the first copy: after
a destination was away for longer than the source allows, all that was held comes again.

--mirror copies all topics, those that come later too, and makes each topic's channels at the destination before its first
message, so that no consumer there misses one. What is paused at the source is not paused there.

Ctrl-C or TERM takes nothing more, delivers what it has for --stop-timeout, gives the rest back, and ends with 0.`,
	Examples: []program.Example{
		{Does: "copy one topic to another daemon", Command: "to_qd --topic=orders --qd-tcp-address=127.0.0.1:4150 --destination-qd-tcp-address=10.0.0.2:4150"},
		{Does: "to all daemons of another cluster, found by its lookupd, under other names", Command: "to_qd --topic-pattern='^orders' --lookupd-http-address=127.0.0.1:4161 \\\n  --destination-lookupd-http-address=10.0.0.2:4161 --destination-topic='copy.<TOPIC>'"},
		{Does: "a hundredth of the orders of one country, with some fields only", Command: "to_qd --topic=orders --lookupd-http-address=127.0.0.1:4161 --destination-qd-tcp-address=10.0.0.2:4150 \\\n  --require-json=address.country=NO --whitelist-json-field=id,total,address.country --sample=0.01"},
		{Does: "one topic in its order", Command: "to_qd --ordered --topic=ledger --qd-tcp-address=127.0.0.1:4150 --destination-qd-tcp-address=10.0.0.2:4150"},
		{Does: "mirror a cluster, to move it", Command: "to_qd --mirror --lookupd-http-address=127.0.0.1:4161 --destination-lookupd-http-address=10.0.0.2:4161"},
	},
	Sections: new(settings).sections(),
	Setup:    setup,
}

func main() {
	itself.Main()
}

func setup(fs *flag.FlagSet, std program.Stdio) func(context.Context) error {
	var s settings
	s.declare(fs)
	return func(ctx context.Context) error {
		log, _, err := program.Logger(std.Err, s.logs)
		if err := errors.Join(err, s.check(fs)); err != nil {
			return err
		}
		t, err := s.transfer(ctx, log)
		if err != nil {
			return err
		}
		defer t.close()
		return s.from.Run(ctx, log, t.open)
	}
}
