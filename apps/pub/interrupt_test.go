package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A daemon that is there and does not answer is given up in the end.
func TestNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		d := &daemon{perConnection: 2, silent: true}
		said, err := pub(t, t.Context(), input(numbers(1, 40)), d)
		if err == nil || !strings.Contains(err.Error(), "not acknowledged: lines 1-") {
			t.Errorf("error %v", err)
		}
		if took := time.Since(began); took < 10*time.Second || took > 3*time.Minute {
			t.Errorf("it took %s", took)
		}
		if !strings.Contains(said, "duplicates are possible") {
			t.Errorf("said %q", said)
		}
	})
}

// Nor is it waited for long after Ctrl-C.
func TestInterruptWithoutAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, interrupt := context.WithTimeout(t.Context(), time.Second)
		defer interrupt()
		began := time.Now()
		said, err := pub(t, ctx, input(numbers(1, 4)), &daemon{silent: true})
		if strings.Contains(said, "published again") {
			t.Errorf("said %q", said)
		}
		if err == nil || !strings.Contains(err.Error(), "4 messages were not acknowledged: lines 1-4") {
			t.Errorf("error %v", err)
		}
		if took := time.Since(began); took > time.Second+2*grace {
			t.Errorf("it took %s", took)
		}
	})
}

func TestInterruptSpreadWithoutAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, interrupt := context.WithTimeout(t.Context(), time.Second)
		defer interrupt()
		began := time.Now()
		var said strings.Builder
		p := publishingTo(input(numbers(1, 4)), &said)
		d := &daemon{silent: true}
		p.sinks = []sink{newSpread(delivery{
			name: "qds", open: d.connect, window: 5, retryFor: 10 * time.Second, warn: p.report.say, inputs: p.feed.inputs, ledger: p.ledger,
		})}
		err := p.run(ctx)
		if err == nil || !strings.Contains(err.Error(), "4 messages were not acknowledged: lines 1-4") {
			t.Errorf("error %v", err)
		}
		if took := time.Since(began); took > time.Second+2*grace {
			t.Errorf("it took %s", took)
		}
	})
}

// What was read when Ctrl-C was pressed is published, without waiting for its turn.
func TestInterruptPublishesWhatWasRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, interrupt := context.WithTimeout(t.Context(), time.Second)
		defer interrupt()
		began := time.Now()
		d := &daemon{}
		var said strings.Builder
		in, writer := io.Pipe()
		p := publishingTo(in, &said, d)
		p.feed.pace.perSecond = 0.1
		go fmt.Fprint(writer, strings.Join(numbers(1, 9), "\n")+"\nhalf")
		if err := p.run(ctx); err != nil || said.String() != "pub: interrupted after line 9: 9 messages were published\n" {
			t.Errorf("error %v, said %q", err, said.String())
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("it took %s", took)
		}
		wantStored(t, d, numbers(1, 9))
		writer.Close()
	})
}

// Interactive input is published line by line, as it is typed. Ctrl-C publishes
// what was taken, and no half line.
func TestInterrupt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, interrupt := context.WithCancel(t.Context())
		in, writer := io.Pipe()
		d := &daemon{}
		go func() {
			for _, text := range []string{"message 1\n", "message 2\nmess"} {
				fmt.Fprint(writer, text)
				time.Sleep(time.Second)
			}
			d.mu.Lock()
			wantStored(t, d, numbers(1, 2))
			d.mu.Unlock()
			interrupt()
		}()
		said, err := pub(t, ctx, in, d)
		if err != nil || said != "pub: interrupted after line 2: 2 messages were published\n" {
			t.Errorf("error %v, said %q", err, said)
		}
		wantStored(t, d, numbers(1, 2))
		writer.Close() // lets the reading goroutine go
	})
}

func TestInterruptWhileDaemonIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, interrupt := context.WithTimeout(t.Context(), time.Second)
		defer interrupt()
		began := time.Now()
		d := &daemon{dial: func() error { return errDown }}
		_, err := pub(t, ctx, input(numbers(1, 2)), d)
		if err == nil || !strings.Contains(err.Error(), "2 messages were not acknowledged: lines 1-2") {
			t.Errorf("error %v", err)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("it took %s", took)
		}
	})
}
