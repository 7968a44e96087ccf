package main

import "github.com/millrace-mq/millrace/internal/program"

// itself is what the program says of itself.
var itself = program.Program{
	Name:     "to_file",
	Synopsis: "keep the messages of topics in files, a line each",
	About: `Each topic has files of its own. A message is finished when its line is on the disk
(fsync has returned), so nothing is lost, whatever happens to to_file, the machine or the disk; after a
crash some lines may be there twice. The first start after a crash makes the files whole: what is torn
at the end of one was never finished, and comes again.

A file ends when its name changes (with <DATETIME>, each hour unless --datetime-format says otherwise),
when it is too large or too old (--rotate-size, --rotate-interval), on SIGHUP, and when to_file ends. It
is then moved from --work-dir, if there is one, to --output-dir; no file is ever overwritten. If somebody
removes a file that is being written, what comes after that goes to another one.

While the disk is full nothing is consumed; it goes on by itself when there is room. Any other
failure of the disk ends to_file with status 1.

SIGINT and SIGTERM write what is in hand, and end with status 0. A second one ends at once: what
was not on the disk comes again.`,
	Examples: []program.Example{
		{Does: "the topic \"orders\", a file an hour", Command: "to_file --topic=orders --output-dir=/tmp/archive --lookupd-http-address=127.0.0.1:4161"},
		{Does: "all topics that begin with \"log\", those to come, too, compressed", Command: "to_file --topic-pattern='^log' --gzip --output-dir=/tmp/archive --lookupd-http-address=127.0.0.1:4161"},
		{Does: "finished files of a gigabyte or an hour, out of whoever's way who collects them", Command: "to_file --topic=orders --work-dir=/tmp/work --output-dir=/tmp/archive --rotate-size=1000000000 --rotate-interval=1h \\\n    --zstd --sidecar --skip-empty-files --lookupd-http-address=127.0.0.1:4161"},
		{Does: "with what is known of each message, from one daemon, on a channel that goes with to_file", Command: "to_file --topic=orders --channel=look#ephemeral --format=json --output-dir=/tmp/archive --qd-tcp-address=127.0.0.1:4150"},
		{Does: "the same by the environment", Command: "TO_FILE_TOPIC=orders TO_FILE_QD_TCP_ADDRESS=127.0.0.1:4150 to_file --output-dir=/tmp/archive"},
	},
	Sections: sections(),
	Setup:    setup,
}

func sections() []program.Section {
	var s settings
	all := s.consume.Sections(
		program.Section{Title: "Where files are, and what they are called", Flags: []string{"output-dir", "work-dir", "filename-format", "datetime-format", "host-identifier"}},
		program.Section{Title: "What is in them", Flags: []string{"format", "gzip", "gzip-level", "zstd", "zstd-level", "sidecar"}},
		program.Section{Title: "When they end", Flags: []string{"rotate-size", "rotate-interval", "skip-empty-files", "sync-interval"}},
	)
	all[0].Flags = append(all[0].Flags, "http-client-connect-timeout", "http-client-request-timeout")
	return all
}
