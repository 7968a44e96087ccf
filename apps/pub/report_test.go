package main

import (
	"bufio"
	"strings"
	"testing"

	"github.com/creack/pty"

	"github.com/millrace-mq/millrace/internal/e2e/testenv"
	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/internal/program/logs"
)

// The log of pub goes by its report. On a terminal it is text all the same, and at the end
// it says what it has left out.
func TestLogOnATerminal(t *testing.T) {
	tty, other, err := pty.Open()
	if err != nil {
		testenv.Missing(t, "terminals: "+err.Error())
	}
	defer tty.Close()
	outlet := logs.NewOutlet(other)
	r := &report{out: outlet, terminal: true}
	log, _, err := program.Logger(r, program.LogSettings{Level: "warn"})
	if err != nil {
		t.Fatal(err)
	}
	r.show("progress")
	for range 11 {
		log.Warn("connection lost", "node", "192.0.2.1:4150")
	}
	outlet.Close()
	other.Close() // what is there can be read, and then the terminal ends
	lines := bufio.NewScanner(tty)
	for n := range 11 {
		if !lines.Scan() {
			t.Fatalf("the terminal ends after %d lines: %v", n, lines.Err())
		}
		want, line := ` level=WARN msg="connection lost" node=192.0.2.1:4150`, lines.Text()
		if n == 10 {
			want = ` level=WARN msg="lines like this were left out" like="connection lost" unlogged=1 node=192.0.2.1:4150`
		}
		if !strings.HasSuffix(line, want) || n == 0 && !strings.HasPrefix(line, "\r\x1b[Kprogress\r\x1b[Ktime=") {
			t.Errorf("line %d is %q, want %q", n, line, want)
		}
	}
}
