package main

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/internal/logtest"
	"github.com/millrace-mq/millrace/internal/program"
)

// TestSettings: all that is wrong is told at once, a line each.
func TestSettings(t *testing.T) {
	const fine = "--topic=t --qd-tcp-address=h:1 --destination-qd-tcp-address=h:2 "
	tests := []struct {
		args string
		want []string // parts of the lines, in their order
	}{
		{"", []string{"topic: at least one", "lookupd-http-address or qd-tcp-address", "destination-qd-tcp-address or destination-lookupd-http-address"}},
		{fine + "--destination-qd-tcp-address=nowhere --sample=0 --refused=what --status-every=-1 --stop-timeout=-1s", []string{
			`destination-qd-tcp-address "nowhere": must be host:port`, "sample 0: must be above 0", `refused "what"`, "stop-timeout -1s", "status-every -1"}},
		{fine + "--sample=NaN --require-json==x --require-json-value=1", []string{`require-json "=x"`, "require-json-value: needs", "sample NaN"}},
		{fine + "--destination-topic=<TOPIC>! --rename=a --rename=a=b --rename=a=c --rename=a=b", []string{`rename "a": must be old=new`, `rename "a=c": a is renamed to b already`, `destination-topic "<TOPIC>!"`}},
		{fine + "--ordered --destination-qd-tcp-address=h:3", []string{"ordered: needs exactly one"}},
		{fine + "--ordered --destination-lookupd-http-address=h:3", []string{"ordered: needs exactly one"}},
		{fine + "--mirror", []string{"mirror: needs a destination-lookupd-http-address", "mirror: needs a lookupd-http-address"}},
		{"--mirror --qd-tcp-address=h:1 --destination-lookupd-http-address=h:2", []string{"mirror: needs a lookupd-http-address", "topic-pattern: needs a lookupd-http-address"}},
		{fine + "--producer-opt=what --destination-tls-cert=c --log-level=loud", []string{`log-level "loud"`, `producer-opt "what"`, "destination-tls-cert and destination-tls-key"}},
		{fine + "--whitelist-json-field=", []string{"whitelist-json-field: must be"}},
		{fine + "--topic=other --consumer-opt=what --destination-lookupd-http-address=ftp://h --sample=2", []string{`consumer-opt "what"`, `destination-lookupd-http-address "ftp://h"`, "sample 2"}},
	}
	for _, test := range tests {
		var log logtest.Lines
		if status := itself.Run(context.Background(), strings.Fields(test.args), program.Stdio{Out: io.Discard, Err: &log}); status != 1 {
			t.Errorf("%s: status %d", test.args, status)
		}
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != len(test.want) {
			t.Errorf("%s: %d lines, want %d:\n%s", test.args, len(lines), len(test.want), log.String())
			continue
		}
		for i, want := range test.want {
			if !strings.Contains(lines[i], want) {
				t.Errorf("%s: line %q has no %q", test.args, lines[i], want)
			}
		}
	}
}

func TestRoute(t *testing.T) {
	long := strings.Repeat("x", 60)
	tests := []struct{ template, topic, want string }{
		{"<TOPIC>", "orders", "orders"}, {"all", "orders", "all"}, {"a.<TOPIC>.<TOPIC>", "t", "a.t.t"},
		{"<TOPIC>", "t#ephemeral", "t#ephemeral"}, {"<TOPIC>.copy", "t#ephemeral", "t.copy#ephemeral"},
		{"<TOPIC>#ephemeral", "t", "t#ephemeral"}, {"<TOPIC>#ephemeral", "t#ephemeral", "t#ephemeral"}, {"all", "t#ephemeral", "all"},
		{"<TOPIC>.copy", "old", "new"}, {"<TOPIC>.copy", long, ""},
	}
	for _, test := range tests {
		r := route{template: test.template}
		if err := r.check([]string{"old=new"}); err != nil {
			t.Fatal(err)
		}
		got, err := r.to(test.topic)
		if got != test.want || (err != nil) != (test.want == "") {
			t.Errorf("%s of %s: %q, %v; want %q", test.topic, test.template, got, err, test.want)
		}
		if err != nil && !strings.Contains(err.Error(), "--rename="+long) {
			t.Errorf("%v does not say what to do", err)
		}
	}
}

func TestSample(t *testing.T) {
	s := selection{sample: 0.25}
	sent := 0
	for range 10_000 {
		if _, _, send, _ := s.choose(nil, []byte("x")); send {
			sent++
		}
	}
	if sent < 2000 || sent > 3000 { // eleven standard deviations
		t.Errorf("%d of 10000 were sent", sent)
	}
}
