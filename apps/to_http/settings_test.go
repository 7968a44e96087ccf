package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/apps/to_http/delivery"
	"github.com/millrace-mq/millrace/internal/program"
)

func parse(t *testing.T, args ...string) *settings {
	t.Helper()
	var s settings
	fs := flag.NewFlagSet("to_http", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	s.declare(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return &s
}

// run runs the program, and returns what it complains of.
func run(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs strings.Builder
	if status := itself.Run(ctx, args, program.Stdio{Out: &out, Err: &errs}); status != 1 || out.Len() > 0 {
		t.Errorf("%q: status %d, standard output %q", args, status, &out)
	}
	return errs.String()
}

func TestSettingsRefused(t *testing.T) {
	const ok = "--topic=t --qd-tcp-address=127.0.0.1:1 --post=http://h/"
	tests := map[string]struct{ args, want string }{
		"no URL":               {"--topic=t --qd-tcp-address=h:1", "post or get: at least one is needed"},
		"both":                 {ok + " --get=http://h/%s", "post and get: give only one"},
		"no topic":             {"--qd-tcp-address=h:1 --post=http://h/", "topic: at least one is needed"},
		"not a URL":            {ok + " --post=h:80", "post (number 2): must be a URL"},
		"twice":                {ok + " --post=http://h/", "post http://h/: is given twice"},
		"mode":                 {ok + " --mode=random", "mode"},
		"n":                    {ok + " -n 0", "n 0: must be positive"},
		"connect timeout":      {ok + " --http-client-connect-timeout=0", "http-client-connect-timeout 0s"},
		"request timeout":      {ok + " --http-client-request-timeout=-1s", "http-client-request-timeout -1s"},
		"sample 0":             {ok + " --sample=0", "sample 0: must be above 0"},
		"sample 2":             {ok + " --sample=2", "sample 2"},
		"sample NaN":           {ok + " --sample=NaN", "sample NaN"},
		"batch":                {ok + " --batch=0", "batch 0: must be positive"},
		"batch in flight":      {ok + " --batch=201 --max-in-flight=200", "batch 201: cannot be more than max-in-flight, which is 200"},
		"batch too large":      {ok + " --batch=2501", "batch 2501: cannot be more than max-in-flight, which is 2500"},
		"batch wait":           {ok + " --batch-wait=-1s", "batch-wait -1s"},
		"batch format":         {ok + " --batch=2 --batch-format=xml", "must be newline, json-array or json"},
		"batch of GET":         {"--topic=t --qd-tcp-address=h:1 --get=http://h/%s --batch=2", "batch and batch-format: need post"},
		"content-type of GET":  {"--topic=t --qd-tcp-address=h:1 --get=http://h/%s --content-type=a/b", "content-type: needs post"},
		"requeue delay":        {ok + " --requeue-delay=0", "requeue-delay 0s: must be positive"},
		"max requeue delay":    {ok + " --max-requeue-delay=1s", "max-requeue-delay 1s: must be at least requeue-delay, which is 5s"},
		"backoff":              {ok + " --max-backoff=0", "max-backoff 0s"},
		"status":               {ok + " --status-every=-1", "status-every -1"},
		"on-refused":           {ok + " --on-refused=bury", "on-refused"},
		"letters unused":       {ok + " --on-refused=drop --dead-letter-topic=d", "need --on-refused=dead-letter"},
		"letters' topic":       {ok + " --dead-letter-topic=a/b", `dead-letter-topic "a/b": not a valid name`},
		"letters' daemon":      {ok + " --dead-letter-qd-tcp-address=h", `dead-letter-qd-tcp-address "h": must be host:port`},
		"letters to itself":    {ok + " --dead-letter-topic=t", "topic t: is the dead-letter-topic, too"},
		"letters of letters":   {ok + " --topic=u.refused", "topic u.refused: has what was refused once: say with"},
		"letters' name":        {ok + " --topic=" + strings.Repeat("x", 60), "is too long for its dead letters"},
		"certificate alone":    {ok + " --http-client-tls-cert=/nowhere", "http-client-tls-cert and http-client-tls-key: give both or neither"},
		"no such file":         {ok + " --http-client-tls-root-ca-file=/nowhere", "http-client-tls-root-ca-file"},
		"header":               {ok + " --header=foo", "header (number 1): must be one line"},
		"log level":            {ok + " --log-level=loud", "loud"},
		"what consume refuses": {ok + " --max-in-flight=0", "max-in-flight 0"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := run(t, strings.Fields(tt.args)...); !strings.Contains(got, tt.want) {
				t.Errorf("%s: complains of %q, want %q", tt.args, got, tt.want)
			}
		})
	}
}

// All that is wrong is told at once, a line each, and no secret with it.
func TestSettingsRefusedTogether(t *testing.T) {
	got := run(t, "--topic=t", "--qd-tcp-address=h", "--post=http://u:secret@h:port/", "--header=X-Key: secret\nmore", "--sample=7", "-n", "0", "--batch=0")
	if n := strings.Count(got, "\n"); n != 6 || strings.Contains(got, "secret") {
		t.Errorf("%d lines:\n%s", n, got)
	}
	if got := run(t, "--log-level=loud", "--sample=7"); !strings.Contains(got, "loud") || !strings.Contains(got, "sample 7") {
		t.Errorf("complains of %q", got)
	}
}

func TestHeaders(t *testing.T) {
	got, err := parseHeaders([]string{"x-a: 1", "X-A:2", "Authorization: Basic a,b:c=", "X-Empty:", "Host: h"})
	want := http.Header{"X-A": {"1", "2"}, "Authorization": {"Basic a,b:c="}, "X-Empty": {""}, "Host": {"h"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for _, text := range []string{"", "x", ": secret", "X A: secret", "X\x00: secret", "X: secret\nY: z", "X: \x01secret", "Content-Length: 7", "transfer-encoding: chunked", " X: secret"} {
		if _, err := parseHeaders([]string{text}); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestFormatOfABatch(t *testing.T) {
	for args, want := range map[string]delivery.Format{
		"--batch=1": delivery.Raw, "--batch=2": delivery.Newline, "--batch-format=json": delivery.JSON, "--batch=2 --batch-format=json-array": delivery.JSONArray,
	} {
		if f, err := parse(t, strings.Fields(args)...).format(); f != want || err != nil {
			t.Errorf("%s: %d, %v", args, f, err)
		}
	}
}

// What was refused of a topic has a place that is not consumed by whoever has put it there.
func TestDeadLetters(t *testing.T) {
	tests := []struct{ args, topic, want, wrong string }{
		{"", "t", "t.refused", ""},
		{"", "t#ephemeral", "t.refused", ""},
		{"", "t.refused", "", "refused once"},
		{"", "t.refused#ephemeral", "", "refused once"},
		{"--dead-letter-topic=d", "t", "d", ""},
		{"--dead-letter-topic=d", "t.refused", "d", ""},
		{"--dead-letter-topic=d", "d", "", "again and again"},
		{"--dead-letter-topic=d --dead-letter-qd-tcp-address=h:1", "d", "d", ""},
		{"--on-refused=drop", "t", "", ""},
		{"--on-refused=requeue", "t.refused", "", ""},
	}
	for _, tt := range tests {
		got, err := parse(t, strings.Fields(tt.args)...).lettersOf(tt.topic)
		if got != tt.want || (err != nil) != (tt.wrong != "") || err != nil && !strings.Contains(err.Error(), tt.wrong) {
			t.Errorf("%q, topic %s: %q, %v", tt.args, tt.topic, got, err)
		}
	}
}

// A message comes later each time, and not before the endpoint wants it.
func TestWhenAMessageComesAgain(t *testing.T) {
	s := stream{delay: 5 * time.Second, longest: time.Minute}
	tests := []struct {
		attempts uint16
		asked    time.Duration
		want     time.Duration
	}{
		{1, 0, 5 * time.Second},
		{3, 0, 15 * time.Second},
		{12, 0, time.Minute},
		{13, 0, time.Minute},
		{65535, 0, time.Minute},
		{1, 4 * time.Second, 5 * time.Second},
		{1, 9 * time.Second, 9 * time.Second},
		{13, time.Hour, time.Hour},
	}
	for _, tt := range tests {
		if d := s.after(tt.attempts, tt.asked); d != tt.want {
			t.Errorf("%d attempts, asked %s: %s, want %s", tt.attempts, tt.asked, d, tt.want)
		}
	}
}

// No more is read, nor by more goroutines, than can be in requests.
func TestReader(t *testing.T) {
	tests := []struct {
		args                           string
		inFlight, concurrent, attempts int
	}{
		{"", 100, 100, 0},
		{"-n 300", 300, 300, 0},
		{"-n 3 --batch=5", 15, 3, 0},
		{"-n 300 --max-in-flight=7", 7, 7, 0},
		{"-n 2000000000", 2500, 2500, 0},
		{"-n 9000000000000000000 --batch=9", 2500, 2500, 0},
		{"--consumer-opt=max_attempts,5", 100, 100, 5},
		{"--consumer-opt=max_attempts,5 --on-refused=requeue", 100, 100, 0}, // it would not be sent any more
	}
	for _, tt := range tests {
		s := parse(t, strings.Fields("--topic=t --qd-tcp-address=h:1 --post=http://h/ "+tt.args)...)
		s.limited = strings.Contains(tt.args, "--max-in-flight")
		s.fit()
		cfg, err := s.reader("t", time.Second, slog.New(slog.DiscardHandler))
		if err = errors.Join(err, s.check()); err != nil || cfg.MaxInFlight != tt.inFlight || cfg.Concurrency != tt.concurrent || int(cfg.MaxAttempts) != tt.attempts {
			t.Errorf("%s: %d in flight, %d at once, %d attempts, error %v", tt.args, cfg.MaxInFlight, cfg.Concurrency, cfg.MaxAttempts, err)
		}
	}
}

// Flags that --help lists in sections exist.
func TestSectionsNameFlags(t *testing.T) {
	var s settings
	fs := flag.NewFlagSet("to_http", flag.ContinueOnError)
	s.declare(fs)
	listed := make(map[string]bool)
	for _, section := range sections() {
		for _, name := range section.Flags {
			if fs.Lookup(name) == nil || listed[name] {
				t.Errorf("%s: there is no flag %s, or it is listed twice", section.Title, name)
			}
			listed[name] = true
		}
	}
}
