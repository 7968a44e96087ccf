package main

import (
	"context"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/internal/program"
)

func TestRefusedFlags(t *testing.T) {
	tests := map[string]struct{ args, want string }{
		"nothing":   {"", "topic: is needed\npub: qd-tcp-address: at least one is needed"},
		"topic":     {"--topic=a/b --nsqd-tcp-address=a:1", `topic "a/b": not a valid name`},
		"address":   {"--topic=t --qd-tcp-address=nowhere", `"nowhere"`},
		"delimiter": {"--topic=t --qd-tcp-address=a:1 --delimiter=ab", `delimiter "ab": must be one byte`},
		"rate":      {"--topic=t --qd-tcp-address=a:1 --rate=-1", "rate -1"},
		"batch":     {"--topic=t --qd-tcp-address=a:1 --batch=0", "batch 0"},
		"patience":  {"--topic=t --qd-tcp-address=a:1 --retry-for=-1s", "retry-for -1s"},
		"size":      {"--topic=t --qd-tcp-address=a:1 --max-msg-size=0", "max-msg-size 0"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr strings.Builder
			std := program.Stdio{In: strings.NewReader("a"), Out: &stdout, Err: &stderr}
			status := itself.Run(context.Background(), strings.Fields(tt.args), std)
			if status != 1 || !strings.Contains(stderr.String(), tt.want) || strings.Count(stderr.String(), "\n") != 1+strings.Count(tt.want, "\n") {
				t.Errorf("status %d, standard error %q, want a line for each complaint, with %q", status, stderr.String(), tt.want)
			}
		})
	}
}
