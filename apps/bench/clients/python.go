package clients

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/millrace-mq/millrace/apps/bench/broker"
)

// script is the program in the folder of Python's client that does one pass of a
// workload and says as JSON how it went.
const script = "bench.py"

// consume and consumeBatches are its workloads that consume. The others publish one
// message more than they time, by which they connect.
const (
	consume        = "consume"
	consumeBatches = "consume-batches"
	hello          = 1
)

// pass is what the script says.
type pass struct {
	Messages int64   `json:"messages"`
	Seconds  float64 `json:"seconds"`
	CPU      float64 `json:"cpu_seconds"`
}

// pythonWorkloads are none where the client, or an interpreter for it, is missing,
// which is said.
func (b *Bench) pythonWorkloads() []workload {
	if b.Python == "" {
		return nil
	}
	_, err := os.Stat(filepath.Join(b.Python, script))
	if err == nil {
		_, err = exec.LookPath(b.Interpreter)
	}
	if err != nil {
		fmt.Fprintf(b.Progress, "Python's client is left out: %v\n", err)
		return nil
	}
	return []workload{
		{"Python", "publish one by one", 120e3, func(b *Bench, ctx context.Context, t broker.Target) (Row, error) {
			return b.pythonPublishing(ctx, t, "publish")
		}},
		{"Python", "publish batches", 700e3, func(b *Bench, ctx context.Context, t broker.Target) (Row, error) {
			return b.pythonPublishing(ctx, t, "publish-many")
		}},
		{"Python", "consume with a handler", 80e3, func(b *Bench, ctx context.Context, t broker.Target) (Row, error) {
			return b.pythonConsuming(ctx, t, consume)
		}},
		{"Python", "consume with a batch_handler", 80e3, func(b *Bench, ctx context.Context, t broker.Target) (Row, error) {
			return b.pythonConsuming(ctx, t, consumeBatches)
		}},
	}
}

// pythonMessages are a pass of the script's: whole batches that take some seconds.
func (b *Bench) pythonMessages() int64 {
	return min(b.Messages, 400_000) / int64(b.Batch) * int64(b.Batch)
}

// python does a pass, and adds what the script has timed: the interpreter's start is
// not the client's.
func (b *Bench) python(ctx context.Context, t broker.Target, m *meter, work, topic string) error {
	ctx, cancel := context.WithTimeout(ctx, pythonLimit)
	defer cancel()
	args := []string{script, "--address", t.TCP, "--topic", topic,
		"--messages", strconv.FormatInt(b.pythonMessages(), 10), "--size", strconv.Itoa(b.Size), "--batch", strconv.Itoa(b.Batch)}
	if work == consume || work == consumeBatches {
		args = append(args, "--published", "--channel", channel, "--max-in-flight", strconv.Itoa(b.MaxInFlight))
	}
	// #nosec G204 -- whoever runs this has named the command
	cmd := exec.CommandContext(ctx, b.Interpreter, append(args, work)...)
	cmd.Dir = b.Python
	var said bytes.Buffer
	cmd.Stderr = &said
	_, before := usage(t)
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s %s: %w\n%s", script, work, err, said.Bytes())
	}
	_, after := usage(t)
	var p pass
	if err := json.Unmarshal(out, &p); err != nil || p.Messages != b.pythonMessages() || p.Seconds <= 0 {
		return errors.Join(fmt.Errorf("%s %s said %q", script, work, out), err)
	}
	m.messages += p.Messages
	m.elapsed += time.Duration(p.Seconds * float64(time.Second))
	m.cpu += time.Duration(p.CPU * float64(time.Second))
	m.broker += after - before
	return nil
}

// pythonLimit is for one pass, which takes some seconds.
const pythonLimit = 5 * time.Minute

func (b *Bench) pythonPublishing(ctx context.Context, t broker.Target, work string) (Row, error) {
	var m meter
	err := b.passes(ctx, t, &m, func(ctx context.Context, topic string) error {
		if err := b.python(ctx, t, &m, work, topic); err != nil {
			return err
		}
		return audit(ctx, t, topic, b.pythonMessages()+hello, b.pythonMessages()+hello)
	})
	return m.row(), err
}

func (b *Bench) pythonConsuming(ctx context.Context, t broker.Target, work string) (Row, error) {
	var m meter
	fill := *b
	fill.Messages, fill.Seconds = b.pythonMessages(), pythonLimit.Seconds()
	err := b.passes(ctx, t, &m, func(ctx context.Context, topic string) error {
		published, err := fill.publish(ctx, t, topic, fill.batches)
		if err != nil {
			return err
		}
		if err := b.python(ctx, t, &m, work, topic); err != nil {
			return err
		}
		return audit(ctx, t, topic, published, 0)
	})
	return m.row(), err
}
