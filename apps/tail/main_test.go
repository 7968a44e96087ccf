package main

import (
	"context"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/internal/program"
)

func TestRefusedFlags(t *testing.T) {
	tests := map[string]struct{ args, want string }{
		"nothing":        {"", "topic: at least one is needed\ntail: lookupd-http-address or qd-tcp-address: at least one is needed"},
		"both addresses": {"--topic=t --nsqd-tcp-address=a:1 --nsqlookupd-http-address=b:2", "give only one of them"},
		"topic":          {"--topic=a/b --qd-tcp-address=a:1", `topic "a/b": not a valid name`},
		"channel":        {"--topic=t --channel=a/b --qd-tcp-address=a:1", `"a/b" is not a valid name`},
		"count":          {"--topic=t --qd-tcp-address=a:1 -n -1", "n -1: must not be negative"},
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
	for _, tt := range []struct{ count, max, want int }{{0, 200, 200}, {5, 200, 5}, {500, 200, 200}} {
		if got := (&settings{count: tt.count, maxInFlight: tt.max}).inFlight(); got != tt.want {
			t.Errorf("%d of %d shown: %d in flight, want %d", tt.max, tt.count, got, tt.want)
		}
	}
}
