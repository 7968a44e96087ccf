package cluster

import (
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/internal/e2e/ledger"
)

// The audit must be able to fail: each kind of broken promise is found.
func TestBooks(t *testing.T) {
	const a, b = "10.0.0.1:4150", "10.0.0.2:4150"
	body := func(lane, seq int) []byte {
		return ledger.AppendBody(nil, ledger.Key{Lane: lane, Seq: seq}, time.Time{})
	}
	come := func(c *channel, daemon string, seqs ...int) {
		for _, seq := range seqs {
			if k, ok := c.receive(daemon, 1, body(0, seq)); ok {
				c.finish(k)
			}
		}
	}
	tests := []struct {
		name string
		play func(*lane, *channel)
		want string // in the one fault; empty: none
	}{
		{"all is well", func(l *lane, c *channel) { come(c, a, 0, 1, 2, 3) }, ""},
		{"what is uncertain may not come", func(l *lane, c *channel) { come(c, a, 0, 1, 2) }, ""},
		{"some come again", func(l *lane, c *channel) { come(c, a, 0, 1, 2); c.connected(a); come(c, a, 0, 1) }, ""},
		{"the first of a connection was of the one before", func(l *lane, c *channel) {
			come(c, a, 0, 1)
			c.connected(a)
			come(c, a, 2, 0, 1)
		}, ""},
		{"one is missing", func(l *lane, c *channel) { come(c, a, 0, 2) }, "{0 1} was acknowledged and is missing"},
		{"one came and was not finished", func(l *lane, c *channel) {
			come(c, a, 0, 1)
			c.receive(a, 1, body(0, 2))
		}, "{0 2} was acknowledged and is missing"},
		{"order", func(l *lane, c *channel) { come(c, a, 0, 2, 1) }, "{0 1} came from 10.0.0.1:4150 for the first time after 2"},
		{"one came twice", func(l *lane, c *channel) { come(c, a, 0, 1, 2); come(c, b, 1) }, "{0 1} came from 10.0.0.2:4150, and from another daemon before"},
		{"one was refused and came", func(l *lane, c *channel) {
			l.end(ledger.Key{Seq: 3}, 1, refused)
			come(c, a, 0, 1, 2, 3)
		}, "{0 3} came, and its writer was told that it was not stored"},
		{"a body was changed", func(l *lane, c *channel) {
			come(c, a, 0, 1, 2)
			c.receive(a, 1, append(body(0, 1), 'x'))
		}, "nobody published it"},
		{"not yet published", func(l *lane, c *channel) { come(c, a, 0, 1, 2, 4) }, "nobody published it"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var books books
			l, c := books.addLane("orders"), books.addChannel("orders", "ship", true)
			c.connected(a)
			c.connected(b)
			l.end(l.attempt(4), 3, acknowledged)
			tt.play(l, c)
			_, faults := books.audit()
			switch {
			case tt.want == "" && len(faults) > 0:
				t.Errorf("faults %q, want none", faults)
			case tt.want != "" && (len(faults) != 1 || !strings.Contains(faults[0], tt.want)):
				t.Errorf("faults %q, want one with %q", faults, tt.want)
			}
		})
	}
}
