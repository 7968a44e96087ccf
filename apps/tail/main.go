// Tail shows the messages of topics: those that are published from now on, and, where
// the topics keep them, earlier ones. It looks through a channel of its own, which goes
// when it ends, so nobody else misses any.
package main

import (
	"context"
	"flag"
	"os"
	"os/signal"
	"syscall"

	"github.com/millrace-mq/millrace/internal/program"
)

// itself is what the program says of itself.
var itself = program.Program{
	Name:     "tail",
	Synopsis: "show the messages of topics as they come",
	About: `Each message is printed on a line. They are seen through a channel of tail's own, which goes when tail ends: other
consumers get all of their messages nevertheless. Only of a topic without any channel the first one takes what waits in it, and
that may be tail's.

Without more it shows what is published from now on, until Ctrl-C. --since and --from-id show what was published before, if the
topic keeps it: POST /topic/policy?topic=T&retention_age=24h to a qd says for how long. What has not been finished
on all channels is kept in any case.

On a terminal JSON is indented and coloured, and control characters are made visible. In a pipe bodies are printed as they are.`,
	Examples: []program.Example{
		{Does: "watch two topics, each line with the name of its topic", Command: "tail --topic=orders --topic=payments --print-topic --lookupd-http-address=127.0.0.1:4161"},
		{Does: "the failures of the last ten minutes in all topics, and those to come", Command: `tail --topic-pattern=. --since=10m --field=status=failed --lookupd-http-address=127.0.0.1:4161`},
		{Does: "the first ten messages that there are, and end", Command: "tail --topic=orders --since=earliest -n 10 --qd-tcp-address=127.0.0.1:4150"},
		{Does: "all that is there, with IDs and times, as lines of JSON for jq", Command: "tail --topic=orders --since=earliest --no-follow --format=json --qd-tcp-address=127.0.0.1:4150 | jq .body"},
	},
	Setup: setup,
}

func init() { itself.Sections = sections() }

func main() { itself.Main() }

func setup(fs *flag.FlagSet, std program.Stdio) func(context.Context) error {
	s := newSettings()
	s.declare(fs)
	program.ConfigFile(fs)
	return func(ctx context.Context) error {
		if err := s.check(); err != nil {
			return err
		}
		// A reader that has seen enough, such as head, ends tail in good order:
		// as an error from Write, not as a signal.
		broken := make(chan os.Signal, 1)
		signal.Notify(broken, syscall.SIGPIPE)
		defer signal.Stop(broken)
		return s.show(ctx, std)
	}
}
