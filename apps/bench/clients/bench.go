// Package clients measures our own clients, Go's in this process and Python's in
// one that is started, against a broker: what a program that uses them can publish
// and consume.
//
// As in package work, a pass has a topic of its own and a bounded number of
// messages, and passes follow each other until enough time was measured. After each
// the broker is asked what it has counted: a message that was lost, or came twice,
// is an error.
package clients

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/millrace-mq/millrace/apps/bench/broker"
	"github.com/millrace-mq/millrace/apps/bench/work"
)

// Bench is a run of all workloads.
type Bench struct {
	Subject  work.Subject
	Progress io.Writer // a line for each step

	Rounds      int
	Messages    int64   // most in a pass
	Seconds     float64 // to measure, and the longest that a pass publishes
	Size        int     // bytes of a body
	Batch       int     // messages in an MPUB
	MaxInFlight int     // of a Reader
	Stall       time.Duration

	Python      string // the folder of Python's client; "" leaves it out
	Interpreter string
}

// smallest is how many bytes of a body are its number.
const smallest = 8

// Flags declares the flags.
func (b *Bench) Flags(fs *flag.FlagSet) {
	b.Subject.Flags(fs)
	fs.IntVar(&b.Rounds, "rounds", 3, "do everything this many `times` and show the medians")
	fs.Int64Var(&b.Messages, "messages", 2_000_000, "at most this many `messages` in a pass")
	fs.Float64Var(&b.Seconds, "seconds", 3, "measure for this many `seconds`; passes follow each other until then")
	fs.IntVar(&b.Size, "size", 200, "`bytes` of a message body")
	fs.IntVar(&b.Batch, "batch", 200, "`messages` in an MPUB")
	fs.IntVar(&b.MaxInFlight, "max-in-flight", 2500, "`messages` that a Reader may have in flight")
	fs.DurationVar(&b.Stall, "stall", 10*time.Second, "give up when nothing happens for this `duration`")
	fs.StringVar(&b.Python, "python", "clients/python", "`folder` of Python's client; leave it out if empty")
	fs.StringVar(&b.Interpreter, "interpreter", "python3", "`program` that runs it")
}

// Validate reports every setting that is out of range.
func (b *Bench) Validate() error {
	var errs []error
	for _, f := range []struct {
		name         string
		value, least int
	}{{"rounds", b.Rounds, 1}, {"size", b.Size, smallest}, {"batch", b.Batch, 1}, {"max-in-flight", b.MaxInFlight, 1}, {"messages", int(b.Messages), b.Batch}} {
		if f.value < f.least {
			errs = append(errs, fmt.Errorf("--%s %d: must be %d or more", f.name, f.value, f.least))
		}
	}
	if !(b.Seconds > 0 && b.Seconds <= 3600) {
		errs = append(errs, fmt.Errorf("--seconds %v: must be above 0 and at most 3600", b.Seconds))
	}
	if b.Stall <= 0 {
		errs = append(errs, fmt.Errorf("--stall %v: must be positive", b.Stall))
	}
	return errors.Join(errs...)
}

// workload is something that a client does.
type workload struct {
	client, name string
	goal         float64 // messages a second, on two cores that client and broker share, at level disk
	run          func(b *Bench, ctx context.Context, t broker.Target) (Row, error)
}

// workloads are in the order of the table.
func (b *Bench) workloads() []workload {
	list := []workload{
		{"Go", "publish one by one, asynchronously", 600e3, (*Bench).publishSingles},
		{"Go", "publish batches", 1.5e6, (*Bench).publishBatches},
		{"Go", "consume with a BatchHandler", 1.2e6, (*Bench).consumeBatches},
		{"Go", "consume with a Handler", 700e3, (*Bench).consumeSingles},
		{"Go", "publish one by one and consume, at once", 450e3, (*Bench).both},
	}
	return append(list, b.pythonWorkloads()...)
}

// Run does all workloads in turn, each against a broker of its own if that is
// started, as often as there are rounds, and returns the medians.
func (b *Bench) Run(ctx context.Context) ([]Row, error) {
	rounds := map[string][]Row{}
	list := b.workloads()
	for n := range b.Rounds {
		for _, w := range list {
			var row Row
			err := b.Subject.Use(ctx, 2*b.Messages, false, func(ctx context.Context, t broker.Target) (err error) {
				row, err = w.run(b, ctx, t)
				row.Broker = t.Name
				return err
			})
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", w.client, w.name, err)
			}
			row.Client, row.Work, row.Goal = w.client, w.name, w.goal
			rounds[w.client+w.name] = append(rounds[w.client+w.name], row)
			fmt.Fprintf(b.Progress, "round %d of %d: %s, %s: %.0f messages/s\n", n+1, b.Rounds, w.client, w.name, row.Rate)
		}
	}
	var rows []Row
	for _, w := range list {
		rows = append(rows, median(rounds[w.client+w.name]))
	}
	return rows, nil
}

func (b *Bench) duration() time.Duration { return time.Duration(b.Seconds * float64(time.Second)) }
