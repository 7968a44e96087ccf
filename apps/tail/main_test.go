package main

import (
	"context"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/internal/program"
)

func TestRefusedFlags(t *testing.T) {
	tests := map[string]struct{ args, want string }{
		"nothing":        {"", "topic: at least one is needed, or a topic-pattern\ntail: lookupd-http-address or qd-tcp-address: at least one is needed"},
		"both addresses": {"--topic=t --nsqd-tcp-address=a:1 --nsqlookupd-http-address=b:2", "give only one of them"},
		"topic":          {"--topic=a/b --qd-tcp-address=a:1", `topic "a/b": not a valid name`},
		"channel":        {"--topic=t --channel=a/b --qd-tcp-address=a:1", `"a/b": not a valid name`},
		"count":          {"--topic=t --qd-tcp-address=a:1 -n -1", "n -1: must not be negative"},
		"since":          {"--topic=t --qd-tcp-address=a:1 --since=yesterday", `since "yesterday": must be a duration such as 10m`},
		"both places":    {"--topic=t --qd-tcp-address=a:1 --since=1m --from-id=0123456789abcdef", "since and from-id: give only one"},
		"ID":             {"--topic=t --qd-tcp-address=a:1 --from-id=12", `from-id "12"`},
		"channel kept":   {"--topic=t --qd-tcp-address=a:1 --since=1m --channel=c", "leave --channel out"},
		"nothing before": {"--topic=t --qd-tcp-address=a:1 --no-follow", "no-follow: needs --since"},
		"sample":         {"--topic=t --qd-tcp-address=a:1 --sample=0", "sample 0"},
		"field":          {"--topic=t --qd-tcp-address=a:1 --field==1", `field "=1"`},
		"format":         {"--topic=t --qd-tcp-address=a:1 --format=xml", "must be raw or json"},
		"log level":      {"--topic=t --qd-tcp-address=a:1 --log-level=loud", `log-level "loud"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr strings.Builder
			std := program.Stdio{Out: &stdout, Err: &stderr}
			status := itself.Run(context.Background(), strings.Fields(tt.args), std)
			if status != 1 || !strings.Contains(stderr.String(), tt.want) || strings.Count(stderr.String(), "\n") != 1+strings.Count(tt.want, "\n") {
				t.Errorf("status %d, standard error %q, want a line for each complaint, with %q", status, stderr.String(), tt.want)
			}
		})
	}
}

func TestNotMoreInFlightThanShown(t *testing.T) {
	for _, tt := range []struct {
		count, max, want int
		grep             string
	}{{0, 200, 200, ""}, {5, 200, 5, ""}, {500, 200, 200, ""}, {5, 200, 200, "x"}} {
		s := settings{count: tt.count}
		if tt.grep != "" {
			s.filter.texts = [][]byte{[]byte(tt.grep)}
		}
		if got := s.inFlight(tt.max); got != tt.want {
			t.Errorf("%+v: %d in flight", tt, got)
		}
	}
}
