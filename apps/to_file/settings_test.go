package main

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/internal/program"
)

func parse(t *testing.T, args ...string) *settings {
	t.Helper()
	var s settings
	fs := flag.NewFlagSet("to_file", flag.ContinueOnError)
	s.declare(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return &s
}

func TestSettingsRefused(t *testing.T) {
	const ok = "--topic=t --lookupd-http-address=127.0.0.1:4161 "
	tests := map[string]struct{ args, want string }{
		"nothing":              {"", "topic: at least one is needed, or a topic-pattern\nlookupd-http-address or qd-tcp-address: at least one is needed"},
		"both addresses":       {ok + "--qd-tcp-address=127.0.0.1:4150", "give only one of them"},
		"topic name":           {ok + "--topic=a/b", `topic "a/b": not a valid name`},
		"channel name":         {ok + "--channel=a/b", `channel "a/b": not a valid name`},
		"max-in-flight":        {ok + "--max-in-flight=0", "max-in-flight 0"},
		"sync-interval":        {ok + "--sync-interval=0", "sync-interval 0s"},
		"poll interval":        {ok + "--lookupd-poll-interval=-1s", "lookupd-poll-interval -1s"},
		"one name for two":     {ok + "--topic=u --filename-format=x", "must contain <TOPIC>"},
		"no revision":          {ok + "--gzip --filename-format=x", "must contain <REV>"},
		"no topic in the name": {"--topic-pattern=x --lookupd-http-address=127.0.0.1:4161 --filename-format=x", "must contain <TOPIC>"},
		"pattern":              {ok + "--topic-pattern=(", `topic-pattern "("`},
		"no lookupd":           {"--topic-pattern=x --qd-tcp-address=127.0.0.1:4150", "needs a lookupd-http-address"},
		"two compressions":     {ok + "--gzip --zstd", "give only one"},
		"zstd level":           {ok + "--zstd --zstd-level=0", "zstd-level 0"},
		"option":               {ok + "--consumer-opt=frob,1", `consumer-opt "frob,1": there is no such option`},
		"connect":              {ok + "--http-client-connect-timeout=0", "http-client-connect-timeout 0s"},
		"gzip level":           {ok + "--gzip --gzip-level=0", "gzip-level 0"},
		"date":                 {ok + "--datetime-format=%Q", "%Q is unknown"},
		"output directory":     {ok + "--output-dir=", "output-dir"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := parse(t, strings.Fields(tt.args)...).opener("host.example.com", 1, slog.New(slog.DiscardHandler))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestNSQsSpellings(t *testing.T) {
	s := parse(t, "--nsqd-tcp-address=a:1,b:2", "--nsqlookupd-http-address=c:3", "--nsqlookupd-http-address=d:4")
	if !slices.Equal(s.consume.Daemons(), []string{"a:1", "b:2"}) || !slices.Equal(s.consume.Lookups(), []string{"c:3", "d:4"}) {
		t.Errorf("daemons %q, lookupds %q", s.consume.Daemons(), s.consume.Lookups())
	}
}

// A directory that cannot be made is one line and status 1, before any
// connection is tried.
func TestUnusableDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr strings.Builder
	args := []string{"--topic=t", "--qd-tcp-address=127.0.0.1:1", "--output-dir=" + filepath.Join(file, "below")}
	status := itself.Run(context.Background(), args, program.Stdio{Out: &stdout, Err: &stderr})
	if status != 1 || strings.Count(stderr.String(), "\n") != 1 || !strings.Contains(stderr.String(), "not a directory") {
		t.Errorf("status %d, standard error %q", status, stderr.String())
	}
}

// --help lists every flag where it belongs, but those that most programs have, and none that
// is not there.
func TestSections(t *testing.T) {
	fs := flag.NewFlagSet("to_file", flag.ContinueOnError)
	itself.Setup(fs, program.Stdio{})
	listed := map[string]bool{"config": true, "log-level": true, "log-format": true, "log-prefix": true}
	for _, s := range itself.Sections {
		for _, name := range s.Flags {
			listed[name] = true
			if fs.Lookup(name) == nil {
				t.Errorf("%q lists --%s, which there is not", s.Title, name)
			}
		}
	}
	fs.VisitAll(func(f *flag.Flag) {
		if !listed[f.Name] && !strings.HasPrefix(f.Name, "nsq") {
			t.Errorf("--%s is in no section", f.Name)
		}
	})
}
