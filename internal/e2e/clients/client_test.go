package clients

import (
	"errors"
	"fmt"
	"testing"
	"time"

	millrace "github.com/millrace-mq/millrace/clients/go"
)

// client makes Writers and Readers in one of the languages. What they are made for
// ends with the test at the latest.
type client interface {
	String() string
	pid() string // of its process, as in /proc
	hasSnappy() bool
	writer(t *testing.T, s writerSettings) writer
	reader(t *testing.T, s readerSettings) reader
}

// writer is a Writer. An error tells by outcomeOf what became of the messages.
type writer interface {
	// publish publishes by Publish, or PublishMany if there are several.
	publish(timeout time.Duration, topic string, bodies ...[]byte) error
	publishDeferred(timeout time.Duration, topic string, delay time.Duration, body []byte) error
	// publishAsync publishes each by itself, and returns when all are accepted or
	// were not. done is called for each with its index.
	publishAsync(topic string, bodies [][]byte, done func(i int, err error))
	publishManyAsync(topic string, bodies [][]byte, done func(err error))
	flush(timeout time.Duration) error
	close() error
}

// reader is a Reader that runs.
type reader interface {
	deliveries() <-chan *delivery
	close() error // ends it, and returns what its Run or its Messages ended with
}

// security says how daemons are spoken to.
type security struct {
	CA          string `json:"ca,omitempty"`          // file of the roots that vouch for them; "" for no TLS
	Compression string `json:"compression,omitempty"` // snappy or deflate; "" for none
}

type writerSettings struct {
	Addresses      []string `json:"addresses,omitempty"`
	Lookupds       []string `json:"lookupds,omitempty"`
	MaxInFlight    int      `json:"max_in_flight,omitempty"`
	RetryUncertain bool     `json:"retry_uncertain,omitempty"`
	Spool          string   `json:"spool,omitempty"` // a directory
	security
}

// How a Reader is used.
const (
	handles  = "handler" // one message at a time
	batches  = "batch"   // a BatchHandler
	iterates = "pull"    // messages are pulled
)

var forms = []string{handles, batches, iterates}

// When a message is answered.
const (
	atOnce  = ""      // it is finished by the handler's returning
	later   = "later" // it is kept, and answered by the test
	waiting = "wait"  // the handler waits for the test's answer
)

type readerSettings struct {
	Topic       string   `json:"topic"`
	Channel     string   `json:"channel"`
	Addresses   []string `json:"addresses,omitempty"`
	Lookupds    []string `json:"lookupds,omitempty"`
	MaxInFlight int      `json:"max_in_flight,omitempty"`
	Concurrency int      `json:"concurrency,omitempty"`
	MsgTimeout  float64  `json:"msg_timeout,omitempty"` // seconds
	Form        string   `json:"form"`
	Answer      string   `json:"answer,omitempty"`
	FailEvery   int      `json:"fail_every,omitempty"` // of so many messages one fails when it comes first
	Work        float64  `json:"work,omitempty"`       // seconds that handling one takes
	security
}

// Settings that all have: impatient ones, so that a test is short.
const (
	lookupInterval = time.Second
	requeueDelay   = 50 * time.Millisecond
	spoolAfter     = 200 * time.Millisecond
)

// delivery is a message that a Reader has handed over.
type delivery struct {
	Body     []byte `json:"body"`
	ID       string `json:"id"`
	Address  string `json:"address"`
	Attempts int    `json:"attempts"`
	Failed   bool   `json:"failed"` // the handler returned an error, so it comes again
	Stamp    int64  `json:"stamp"`  // when it was published, by the daemon's clock, in ns since the epoch
	Taken    int64  `json:"taken"`  // when it was handed over, the same

	answer func(how string, delay time.Duration)
}

func (d *delivery) finish()                     { d.answer("finish", 0) }
func (d *delivery) touch()                      { d.answer("touch", 0) }
func (d *delivery) requeue(delay time.Duration) { d.answer("requeue", delay) }

// fails says whether the handler fails for a message, which depends on nothing
// else, so that all clients fail for the same ones.
func (s readerSettings) fails(body []byte, attempts int) bool {
	sum := 0
	for _, c := range body {
		sum += int(c)
	}
	return s.FailEvery > 0 && attempts == 1 && sum%s.FailEvery == 0
}

// errFails is what a handler fails with.
var errFails = errors.New("once more")

// outcome is what became of a publish.
type outcome uint8

const (
	unanswered outcome = iota // nothing was said of it yet
	stored
	refused
	unavailable
	uncertain
	strange // an error that is none of the three
)

var outcomeNames = [...]string{"unanswered", "stored", "refused", "unavailable", "uncertain", "strange"}

func (o outcome) String() string { return outcomeNames[o] }

// outcomeOf is what an error of a publish says.
func outcomeOf(err error) outcome {
	var told *agentError
	_, isRefused := errors.AsType[*millrace.RefusedError](err)
	_, isUnavailable := errors.AsType[*millrace.UnavailableError](err)
	_, isUncertain := errors.AsType[*millrace.UncertainError](err)
	switch {
	case err == nil:
		return stored
	case errors.As(err, &told):
		return told.outcome()
	case isRefused:
		return refused
	case isUncertain:
		return uncertain
	case isUnavailable:
		return unavailable
	}
	return strange
}

// everyClient runs a test for each client.
func everyClient(t *testing.T, test func(t *testing.T, c client)) {
	t.Run("go", func(t *testing.T) { test(t, goClient{}) })
	for _, form := range []string{"python", "asyncio"} {
		t.Run(form, func(t *testing.T) { test(t, newAgent(t, form == "asyncio")) })
	}
}

// next returns the Reader's next message.
func next(t *testing.T, r reader) *delivery {
	t.Helper()
	select {
	case d := <-r.deliveries():
		return d
	case <-time.After(patience):
		t.Fatalf("no message came within %v", patience)
		return nil
	}
}

// collect returns the Reader's next n messages.
func collect(t *testing.T, r reader, n int) (list []*delivery) {
	t.Helper()
	deadline := time.After(patience)
	for len(list) < n {
		select {
		case d := <-r.deliveries():
			list = append(list, d)
		case <-deadline:
			t.Fatalf("%d of %d messages came within %v", len(list), n, patience)
		}
	}
	return list
}

// numbered are n different bodies.
func numbered(prefix string, n int) (bodies [][]byte) {
	for i := range n {
		bodies = append(bodies, fmt.Appendf(nil, "%s %d", prefix, i))
	}
	return bodies
}

// must ends the test at an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
