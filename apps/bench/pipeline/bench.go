// Package pipeline measures the helper programs as they are: a file of lines goes
// into pub, pub publishes them to a broker, and to_file writes them to files again.
// All are processes of their own, on the same machine.
//
// What counts is a line that is in a synced file, which is when to_file finishes its
// message. Afterwards the files are read: a line that is missing, or that nobody has
// published, is an error; those that are there twice, or out of order, are counted.
package pipeline

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/apps/bench/broker"
)

// goal is what the whole pipeline is to do on two cores at level disk with plain
// files: lines of 100 bytes a second.
const goal = 500e3

// The works, in the order of the table.
const (
	publishing = "pub"           // nobody consumes
	draining   = "to_file"       // a backlog
	whole      = "pub → to_file" // at once
)

const channel = "files"

// Run does all works for each format in turn, as often as there are rounds, and
// returns the medians.
func (b *Bench) Run(ctx context.Context) (rows []Row, err error) {
	dir, err := os.MkdirTemp(b.Dir, "bench-pipeline-")
	if err != nil {
		return nil, fmt.Errorf("making a directory for the files: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	input := filepath.Join(dir, "input")
	if err := writeInput(input, b.Lines, b.Size); err != nil {
		return nil, err
	}
	rounds := map[string][]Row{}
	for n := range b.Rounds {
		for _, f := range b.chosen() {
			for _, works := range [][]string{{publishing, draining}, {whole}} {
				done, err := b.onBroker(ctx, pass{Bench: b, format: f, input: input, output: filepath.Join(dir, "output")}, works)
				if err != nil {
					return nil, fmt.Errorf("%s, %s files: %w", strings.Join(works, ", then "), f.name, err)
				}
				for _, row := range done {
					rounds[row.key()] = append(rounds[row.key()], row)
					fmt.Fprintf(b.Progress, "round %d of %d: %s: %.0f lines/s\n", n+1, b.Rounds, row.key(), row.Rate)
				}
			}
		}
	}
	for _, f := range b.chosen() {
		for _, work := range []string{publishing, draining, whole} {
			if list := rounds[Row{Work: work, Files: f.name}.key()]; len(list) > 0 {
				rows = append(rows, median(list))
			}
		}
	}
	return rows, nil
}

// onBroker does works one after the other with a topic, on a broker that is started for
// them unless one runs already.
func (b *Bench) onBroker(ctx context.Context, p pass, works []string) (rows []Row, err error) {
	err = b.Subject.Use(ctx, 0, false, func(ctx context.Context, t broker.Target) error {
		if t.Null || t.HTTP == "" {
			return fmt.Errorf("%s: needs a broker that keeps messages and counts them over HTTP", t.Name)
		}
		p.broker, p.topic = t, "bench-pipeline-"+strings.ToLower(rand.Text()[:8])
		if err := t.CreateTopic(ctx, p.topic, channel); err != nil {
			return err
		}
		rows, err = p.works(ctx, works)
		if gone := t.DeleteTopic(ctx, p.topic); err == nil {
			err = gone
		}
		return err
	})
	return rows, err
}

// pass is what works that follow each other have in common.
type pass struct {
	*Bench
	broker        broker.Target
	topic         string
	format        format
	input, output string
}

func (p *pass) works(ctx context.Context, works []string) (rows []Row, err error) {
	if err := os.Mkdir(p.output, 0o700); err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(p.output) }()
	for _, work := range works {
		row, err := p.work(ctx, work)
		if err != nil {
			return rows, err
		}
		rows = append(rows, row)
	}
	found, err := audit(p.output, p.Lines, p.Size)
	if err != nil {
		return rows, err
	}
	last := &rows[len(rows)-1]
	last.Duplicates, last.Disorder = found.Duplicates, found.Disorder
	if p.format.flag != "" {
		last.Ratio = float64(found.Lines) * float64(p.Size+1) / float64(found.Bytes)
	}
	return rows, nil
}

// work runs the programs that a work needs. Its time begins when pub is started, or
// to_file where there is a backlog, and ends when pub has ended, or the last message is
// finished.
func (p *pass) work(ctx context.Context, work string) (Row, error) {
	row := Row{Work: work, Files: p.format.name, Broker: p.broker.Name, Lines: p.Lines}
	if work == whole && p.format.flag == "" {
		row.Goal = goal
	}
	before := p.brokerUsage()
	began := time.Now()
	var file *process
	if work != publishing {
		var err error
		if file, err = p.startToFile(); err != nil {
			return row, err
		}
		defer func() { _ = file.end() }() // it has ended, unless something failed before
	}
	if work == whole {
		// What pub has to wait for before its first byte is not to_file's start.
		if err := p.subscribed(ctx, file); err != nil {
			return row, err
		}
		began = time.Now()
	}
	if work != draining {
		used, err := p.publish(ctx, file)
		if err != nil {
			return row, err
		}
		row.Pub = p.cost(used)
	}
	if file != nil {
		if err := p.finished(ctx, file); err != nil {
			return row, err
		}
	}
	row.Seconds = time.Since(began).Seconds()
	row.Rate = float64(p.Lines) / row.Seconds
	after := p.brokerUsage()
	row.Of = p.cost(broker.Usage{CPU: after.CPU - before.CPU, Peak: after.Peak})
	if file != nil {
		if err := file.end(); err != nil {
			return row, err
		}
		row.ToFile = p.cost(file.usage())
	}
	return row, nil
}

func (p *pass) startToFile() (*process, error) {
	args := []string{"--topic=" + p.topic, "--channel=" + channel, "--nsqd-tcp-address=" + p.broker.TCP, "--output-dir=" + p.output}
	if p.format.flag != "" {
		args = append(args, p.format.flag)
	}
	return start(append(commandOr(p.ToFile, "to_file"), args...), nil)
}

// publish runs pub to its end. It ends early if to_file does, which is nil if it
// does not run.
func (p *pass) publish(ctx context.Context, file *process) (used broker.Usage, err error) {
	in, err := os.Open(p.input)
	if err != nil {
		return used, err
	}
	defer func() { _ = in.Close() }()
	pub, err := start(append(commandOr(p.Pub, "pub"), "--topic="+p.topic, "--nsqd-tcp-address="+p.broker.TCP), in)
	if err != nil {
		return used, err
	}
	var watching sync.WaitGroup
	defer watching.Wait()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if file != nil {
		watching.Go(func() {
			if err := file.wait(ctx); ctx.Err() == nil {
				cancel(unexpected(file, err))
			}
		})
	}
	err = pub.wait(ctx)
	if err != nil {
		_ = pub.end() // the first error says why
		return used, err
	}
	return pub.usage(), nil
}

// unexpected is the error of a to_file that has ended too early, with err.
func unexpected(file *process, err error) error {
	if err == nil {
		err = fmt.Errorf("%s ended before it was told to", file.name)
	}
	return err
}

// brokerUsage is what the broker has used so far, zero where it is not known.
func (p *pass) brokerUsage() broker.Usage {
	if p.broker.PID == 0 {
		return broker.Usage{}
	}
	u, _ := broker.ReadUsage(os.DirFS("/proc"), p.broker.PID)
	return u
}

// cost is what a program's usage is for a line.
func (p *pass) cost(u broker.Usage) Cost {
	return Cost{CPU: float64(u.CPU.Nanoseconds()) / 1e3 / float64(p.Lines), Peak: u.Peak}
}
