package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	millrace "github.com/millrace-mq/millrace/clients/go"
	"github.com/millrace-mq/millrace/protocol"
)

// pub publishes in to the daemons in batches of 2 and returns what standard
// error would say besides.
func pub(t *testing.T, ctx context.Context, in io.Reader, daemons ...*daemon) (said string, err error) {
	t.Helper()
	var stderr strings.Builder
	p := publishingTo(in, &stderr, daemons...)
	err = p.run(ctx)
	for i, d := range daemons {
		if d.open != 0 {
			t.Errorf("%d connections to daemon %d are left open", d.open, i)
		}
	}
	return stderr.String(), err
}

func publishingTo(in io.Reader, stderr io.Writer, daemons ...*daemon) *publishing {
	inputs, err := newInputs(nil, in, "line")
	if err != nil {
		panic(err)
	}
	p := &publishing{ledger: new(ledger), report: &report{out: stderr}}
	p.feed = &feed{
		inputs: inputs, framing: framing{delim: []byte("\n"), limit: 1000}, limit: 2,
		decoder: decoder{topic: "topic", limit: 1000}, topics: map[string]*batch{},
	}
	for i, d := range daemons {
		p.sinks = append(p.sinks, newLane(delivery{
			name: fmt.Sprint("qd", i), open: d.connect, window: 5, retryFor: 10 * time.Second,
			warn: p.report.say, inputs: inputs, ledger: p.ledger,
		}))
	}
	return p
}

func numbers(first, last int) (all []string) {
	for n := first; n <= last; n++ {
		all = append(all, fmt.Sprint("message ", n))
	}
	return all
}

func input(messages []string) io.Reader { return strings.NewReader(strings.Join(messages, "\n")) }

func wantStored(t *testing.T, d *daemon, want []string) {
	t.Helper()
	if !slices.Equal(d.stored, want) {
		t.Errorf("stored %q, want %q", d.stored, want)
	}
}

func TestEveryDaemonGetsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &daemon{}, &daemon{}
		said, err := pub(t, t.Context(), input(numbers(1, 99)), a, b)
		if err != nil || said != "" {
			t.Errorf("error %v, said %q", err, said)
		}
		wantStored(t, a, numbers(1, 99))
		wantStored(t, b, numbers(1, 99))
		if a.most != 5 {
			t.Errorf("%d batches were on their way, want 5", a.most)
		}
	})
}

// failOnce lets the n-th publish fail with err.
func failOnce(n int, stored bool, err error) func(int, [][]byte) (bool, error) {
	return func(i int, _ [][]byte) (bool, error) {
		if i == n {
			return stored, err
		}
		return true, nil
	}
}

func TestRestartedDaemon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var back time.Time
		d := &daemon{}
		d.fate = func(n int, _ [][]byte) (bool, error) {
			if n == 7 {
				back = time.Now().Add(5 * time.Second)
				return false, errDown
			}
			return true, nil
		}
		d.dial = func() error {
			if time.Now().Before(back) {
				return errDown
			}
			return nil
		}
		said, err := pub(t, t.Context(), input(numbers(1, 99)), d)
		if err != nil {
			t.Error(err)
		}
		wantStored(t, d, numbers(1, 99)) // in order, once
		if want := "pub: qd0 takes no messages, trying for 10s (connection refused)\npub: qd0 takes messages again\n"; said != want {
			t.Errorf("said %q, want %q", said, want)
		}
	})
}

// A connection that broke before an answer: stored or not, all arrives, and the
// user is told.
func TestUncertain(t *testing.T) {
	for _, stored := range []bool{false, true} {
		t.Run(fmt.Sprintf("stored %t", stored), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				lost := &millrace.UncertainError{Address: "qd0", Err: errDown}
				d := &daemon{fate: failOnce(3, stored, lost)}
				said, err := pub(t, t.Context(), input(numbers(1, 40)), d)
				if err != nil {
					t.Error(err)
				}
				want := numbers(1, 40)
				if stored {
					want = slices.Insert(want, 8, "message 7", "message 8")
				}
				wantStored(t, d, want)
				if !strings.Contains(said, "from line 7 on") || !strings.Contains(said, "duplicates are possible") {
					t.Errorf("said %q", said)
				}
			})
		})
	}
}

// A daemon that takes publishes and answers none is told of once.
func TestUncertainAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &daemon{fate: func(n int, _ [][]byte) (bool, error) {
			if n < 5 {
				return true, &millrace.UncertainError{Address: "qd0", Err: errDown}
			}
			return true, nil
		}}
		said, err := pub(t, t.Context(), input(numbers(1, 2)), d)
		if err != nil || strings.Count(said, "duplicates are possible") != 1 || !strings.HasSuffix(said, "pub: qd0 takes messages again\n") {
			t.Errorf("error %v, said %q", err, said)
		}
	})
}

func TestDaemonStaysAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		well, away := &daemon{}, &daemon{fate: func(n int, _ [][]byte) (bool, error) {
			if n < 2 {
				return true, nil
			}
			return false, errDown
		}}
		_, err := pub(t, t.Context(), input(numbers(1, 400)), well, away)
		if err == nil {
			t.Fatal("no error")
		}
		if took := time.Since(began); took < 10*time.Second || took > 12*time.Second {
			t.Errorf("it was tried for %s", took)
		}
		wantStored(t, away, numbers(1, 4))
		taken := len(well.stored)
		wantStored(t, well, numbers(1, taken))
		for _, want := range []string{
			fmt.Sprintf("qd1: connection refused: %d messages were not acknowledged: lines 5-%d", taken-4, taken),
			fmt.Sprintf("what follows line %d was not published", taken),
		} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("error %q lacks %q", err, want)
			}
		}
	})
}

func TestRefusal(t *testing.T) {
	refuse := func(code string) func(int, [][]byte) (bool, error) {
		return func(_ int, bodies [][]byte) (bool, error) {
			for _, b := range bodies {
				if string(b) == "message 8" {
					return false, fmt.Errorf("refused: %w", &protocol.Error{Code: code, Text: "no"})
				}
			}
			return true, nil
		}
	}
	t.Run("of a message", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := &daemon{fate: refuse(protocol.EBadMessage)}
			said, err := pub(t, t.Context(), input(numbers(1, 20)), d)
			if err == nil || err.Error() != "qd0: 1 message was refused: line 8" {
				t.Errorf("error %v", err)
			}
			if want := "pub: qd0: line 8 (9 bytes): refused: E_BAD_MESSAGE no\n"; said != want {
				t.Errorf("said %q, want %q", said, want)
			}
			wantStored(t, d, slices.Delete(numbers(1, 20), 7, 8))
		})
	})
	t.Run("of the topic", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := &daemon{fate: refuse(protocol.EUnauthorized)}
			_, err := pub(t, t.Context(), input(numbers(1, 9)), d)
			if err == nil || !strings.Contains(err.Error(), "E_UNAUTHORIZED no: 3 messages were not acknowledged: lines 7-9") {
				t.Errorf("error %v", err)
			}
			wantStored(t, d, numbers(1, 6))
		})
	})
	t.Run("of a batch alone", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := &daemon{fate: func(_ int, bodies [][]byte) (bool, error) {
				if len(bodies) > 1 {
					return false, &protocol.Error{Code: protocol.EBadBody}
				}
				return true, nil
			}}
			if _, err := pub(t, t.Context(), input(numbers(1, 9)), d); err != nil {
				t.Error(err)
			}
			wantStored(t, d, numbers(1, 9))
		})
	})
	t.Run("for now", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := &daemon{fate: failOnce(2, false, &protocol.Error{Code: protocol.EMPubFailed, Text: "exiting"})}
			if _, err := pub(t, t.Context(), input(numbers(1, 9)), d); err != nil {
				t.Error(err)
			}
			wantStored(t, d, numbers(1, 9))
		})
	})
}

// A publish that cannot be sent says nothing about those that were.
func TestConnectionTakesNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &daemon{perConnection: 3}
		said, err := pub(t, t.Context(), input(numbers(1, 40)), d)
		if err != nil || said != "" {
			t.Errorf("error %v, said %q", err, said)
		}
		wantStored(t, d, numbers(1, 40))
	})
}

// A connection that ended while nothing was on its way is nothing to tell.
func TestIdleConnectionLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &daemon{}
		in, writer := io.Pipe()
		go func() {
			fmt.Fprint(writer, "message 1\n")
			time.Sleep(time.Hour)
			fmt.Fprint(writer, "message 2\nmessage 3\n")
			writer.Close()
		}()
		var said strings.Builder
		p := publishingTo(in, &said, d)
		time.AfterFunc(time.Minute, func() { d.mu.Lock(); d.last.broken = errDown; d.mu.Unlock() })
		if err := p.run(t.Context()); err != nil || said.String() != "" {
			t.Errorf("error %v, said %q", err, said.String())
		}
		wantStored(t, d, numbers(1, 3))
	})
}

// refuseBad is the fate of messages that say "bad".
func refuseBad(_ int, bodies [][]byte) (bool, error) {
	for _, b := range bodies {
		if string(b) == "bad" {
			return false, &protocol.Error{Code: protocol.EBadMessage, Text: "no"}
		}
	}
	return true, nil
}

// Each topic has its messages in their order.
func TestTopicOfEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &daemon{}
		var lines []string
		for n := range 100 {
			lines = append(lines, fmt.Sprintf(`{"t":"topic%d","n":%d}`, n%7, 100+n))
		}
		var said strings.Builder
		p := publishingTo(input(lines), &said, d)
		p.feed.decoder.field = "t"
		if err := p.run(t.Context()); err != nil || said.String() != "" {
			t.Errorf("error %v, said %q", err, said.String())
		}
		slices.SortStableFunc(lines, func(a, b string) int { return strings.Compare(a[:12], b[:12]) })
		slices.SortStableFunc(d.stored, func(a, b string) int { return strings.Compare(a[:12], b[:12]) })
		wantStored(t, d, lines)
		for topic, n := range d.topics {
			if n == 0 || !strings.HasPrefix(topic, "topic") {
				t.Errorf("%d messages to %q", n, topic)
			}
		}
		if len(d.topics) != 7 {
			t.Errorf("topics %v", d.topics)
		}
	})
}

func TestTooLongLineIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &daemon{}
		said, err := pub(t, t.Context(), input(append(numbers(1, 3), strings.Repeat("x", 1001), "message 5")), d)
		if err == nil || err.Error() != "1 record was not fit to be published: line 4" {
			t.Errorf("error %v", err)
		}
		if !strings.HasPrefix(said, "pub: line 4: 1001 bytes are more than the 1000 of --max-msg-size") {
			t.Errorf("said %q", said)
		}
		wantStored(t, d, append(numbers(1, 3), "message 5"))
	})
}

func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pace{perSecond: 100}
		if n := p.batchLimit(200); n != 5 {
			t.Errorf("batches of %d", n)
		}
		began := time.Now()
		for range 40 {
			time.Sleep(p.wait(5, time.Now()))
		}
		if took := time.Since(began); took != 1950*time.Millisecond-slack {
			t.Errorf("200 messages left within %s", took)
		}
		time.Sleep(time.Hour)
		if first, second := p.wait(5, time.Now()), p.wait(5, time.Now()); first != 0 || second != 50*time.Millisecond-slack {
			t.Errorf("after a pause, batches wait for %s and %s", first, second)
		}
	})
}

func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		r := &report{out: &out, terminal: true}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			r.follow(ctx, func() state { return state{1000, 2500, 300, 1200} })
		}()
		time.Sleep(600 * time.Millisecond)
		r.say("a word")
		time.Sleep(1399 * time.Millisecond)
		stop()
		<-done
		const clear = "\r\x1b[K"
		want := clear + "1000 messages  2000/s  300 B of 1.2 kB (25%)  2s left" + clear + "pub: a word\n" +
			clear + "1000 messages  0/s  300 B of 1.2 kB (25%)  3s left" + clear + "1000 messages  0/s  300 B of 1.2 kB (25%)  5s left" +
			clear + "1000 messages, 2.5 kB, in 2s (500/s)\n"
		if got := strings.Replace(out.String(), clear+"1000 messages  0/s  300 B of 1.2 kB (25%)  6s left", "", 1); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
