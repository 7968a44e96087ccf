// Bench measures a broker that speaks V2, Millrace's or NSQ's: throughput,
// latency, and what a message costs the broker. It measures lookupds, too.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/millrace-mq/millrace/apps/bench/clients"
	"github.com/millrace-mq/millrace/apps/bench/load"
	"github.com/millrace-mq/millrace/apps/bench/null"
	"github.com/millrace-mq/millrace/apps/bench/pipeline"
	"github.com/millrace-mq/millrace/apps/bench/registry"
	"github.com/millrace-mq/millrace/apps/bench/report"
	"github.com/millrace-mq/millrace/apps/bench/work"
	"github.com/millrace-mq/millrace/apps/bench/yardstick"
	"github.com/millrace-mq/millrace/internal/program"
)

func main() {
	itself().Main()
}

// flags declares flags of the settings.
type flags = func(*work.Settings, *flag.FlagSet)

// workloads is what each workload is for, and the flags it has beside the
// common ones.
var workloads = map[string]struct {
	synopsis string
	flags    []flags
}{
	"publish": {"publish batches to one topic; nobody consumes", []flags{(*work.Settings).Streaming, (*work.Settings).Layered}},
	"drain":   {"consume a backlog and FIN it; only that is timed", []flags{(*work.Settings).Streaming, (*work.Settings).Layered}},
	"both":    {"publish batches and consume them at once, one channel", []flags{(*work.Settings).Streaming, (*work.Settings).Layered}},
	"fanout":  {"publish batches and consume them at once on several channels", []flags{(*work.Settings).Streaming, (*work.Settings).FanOut, (*work.Settings).Layered}},
	"single":  {"publish message by message", []flags{(*work.Settings).Passes, (*work.Settings).Single, (*work.Settings).Layered}},
	"waiting": {"publish message by message on many connections, each waiting for its answer", []flags{(*work.Settings).Passes, (*work.Settings).Waiting, (*work.Settings).Layered}},
	"http":    {"publish message by message over HTTP, beside a bare net/http server; the medians", []flags{(*work.Settings).Passes, (*work.Settings).Posting}},
	"spill":   {"publish, then drain, on a broker with --mem-queue-size 10000", []flags{(*work.Settings).Streaming, (*work.Settings).Layered}},
	"latency": {"time from when a message was due to its receipt, at a fixed rate", []flags{(*work.Settings).Latencies, (*work.Settings).Layered}},
	"idle":    {"CPU and memory of topics that nobody uses", []flags{(*work.Settings).Idle}},
}

func commands() (list []program.Command) {
	for _, w := range work.Works() {
		setup := one(w)
		if w.Name == "http" {
			setup = suite([]work.Work{w}, workloads[w.Name].flags...)
		}
		list = append(list, program.Command{Name: w.Name, Synopsis: workloads[w.Name].synopsis, Setup: setup})
	}
	return append(list,
		program.Command{Name: "all", Synopsis: "every workload, on the broker and on null in turn; the medians as one table", Setup: suite(work.Works(),
			(*work.Settings).Streaming, (*work.Settings).FanOut, (*work.Settings).Single, (*work.Settings).Waiting,
			(*work.Settings).Posting, (*work.Settings).Latencies, (*work.Settings).Idle)},
		program.Command{Name: "layers", Synopsis: "publish, drain and both plainly and through TLS and compression in turn, bodies being JSON; the medians", Setup: layers},
		program.Command{Name: "clients", Synopsis: "what our own clients, Go's and Python's, publish and consume, beside their goals; the medians", Setup: ownClients},
		program.Command{Name: "pipeline", Synopsis: "what pub publishes and to_file writes to files, alone and at once; the medians", Setup: pipes},
		program.Command{Name: "registry", Synopsis: "play a cluster's daemons to a lookupd: registering, memory, and lookups at a fixed rate while daemons come and go", Setup: lookups},
		program.Command{Name: "disk", Synopsis: "what the disk takes and gives, without a broker", Setup: disk},
		program.Command{Name: "null", Synopsis: "be a broker that only parses and answers: the ceiling for the others", Setup: serveNull},
	)
}

// one is the setup of a single workload.
func one(w work.Work) program.Setup {
	return func(fs *flag.FlagSet, std program.Stdio) func(context.Context) error {
		var subject work.Subject
		var settings work.Settings
		subject.Flags(fs)
		if w.OnNull {
			fs.BoolVar(&subject.Null, "null", false, "measure the null broker, started for it")
		}
		settings.Common(fs)
		for _, declare := range workloads[w.Name].flags {
			declare(&settings, fs)
		}
		asJSON := jsonFlag(fs)
		return func(ctx context.Context) error {
			if err := settings.Validate(fs); err != nil {
				return err
			}
			results, err := subject.Run(ctx, w, settings)
			if err != nil {
				return interrupted(ctx, err)
			}
			return show(std, report.Rows(results, nil), *asJSON)
		}
	}
}

// suite is the setup of workloads that are done on the broker and on null in
// turn.
func suite(works []work.Work, declare ...flags) program.Setup {
	return func(fs *flag.FlagSet, std program.Stdio) func(context.Context) error {
		s := work.Suite{Works: works, Progress: std.Err}
		s.Subject.Flags(fs)
		fs.IntVar(&s.Rounds, "rounds", 3, "do everything this many `times` and show the medians")
		s.Settings.Common(fs)
		for _, declare := range declare {
			declare(&s.Settings, fs)
		}
		asJSON := jsonFlag(fs)
		return func(ctx context.Context) error {
			if err := s.Settings.Validate(fs); err != nil {
				return err
			}
			rows, err := s.Run(ctx)
			if err != nil {
				return interrupted(ctx, err)
			}
			return show(std, rows, *asJSON)
		}
	}
}

// layers is the setup of the comparison of layers.
func layers(fs *flag.FlagSet, std program.Stdio) func(context.Context) error {
	l := work.Layering{Progress: std.Err}
	l.Flags(fs)
	asJSON := jsonFlag(fs)
	return func(ctx context.Context) error {
		if err := l.Settings.Validate(fs); err != nil {
			return err
		}
		rows, err := l.Run(ctx)
		if err != nil {
			return interrupted(ctx, err)
		}
		return show(std, rows, *asJSON)
	}
}

// ownClients is the setup of the measurement of our own clients.
func ownClients(fs *flag.FlagSet, std program.Stdio) func(context.Context) error {
	return measured(fs, std, &clients.Bench{Progress: std.Err}, clients.Table)
}

// pipes is the setup of the measurement of pub and to_file.
func pipes(fs *flag.FlagSet, std program.Stdio) func(context.Context) error {
	return measured(fs, std, &pipeline.Bench{Progress: std.Err}, pipeline.Table)
}

// measurement brings flags of its own, and rows.
type measurement[R any] interface {
	Flags(fs *flag.FlagSet)
	Validate() error
	Run(ctx context.Context) ([]R, error)
}

// measured is a setup that shows what m measures in a table, or as JSON.
func measured[R any](fs *flag.FlagSet, std program.Stdio, m measurement[R], table func(io.Writer, []R) error) func(context.Context) error {
	m.Flags(fs)
	asJSON := jsonFlag(fs)
	return func(ctx context.Context) error {
		if err := m.Validate(); err != nil {
			return err
		}
		rows, err := m.Run(ctx)
		if err != nil {
			return interrupted(ctx, err)
		}
		if *asJSON {
			return report.JSON(std.Out, rows)
		}
		return table(std.Out, rows)
	}
}

// lookups is the setup of the load on a lookupd.
func lookups(fs *flag.FlagSet, std program.Stdio) func(context.Context) error {
	var settings registry.Settings
	settings.Flags(fs)
	asJSON := jsonFlag(fs)
	return func(ctx context.Context) error {
		if err := settings.Validate(); err != nil {
			return err
		}
		rows, err := settings.Run(ctx, std.Err)
		if err != nil {
			err = interrupted(ctx, err)
		}
		if len(rows) == 0 {
			return err
		}
		if *asJSON {
			return errors.Join(err, report.JSON(std.Out, rows))
		}
		return errors.Join(err, registry.Table(std.Out, settings, rows))
	}
}

// disk is the setup of the look at the disk alone.
func disk(fs *flag.FlagSet, std program.Stdio) func(context.Context) error {
	dir := fs.String("dir", os.TempDir(), "`directory` on the disk")
	bytes := fs.Int64("bytes", 1<<30, "`bytes` to write and read")
	syncs := fs.Int("syncs", 300, "small `appends` to sync")
	return func(ctx context.Context) error {
		if *bytes < 1 || *syncs < 1 {
			return fmt.Errorf("--bytes %d, --syncs %d: must be 1 or more", *bytes, *syncs)
		}
		d, err := yardstick.Measure(ctx, *dir, *bytes, *syncs)
		if err != nil {
			return interrupted(ctx, err)
		}
		_, err = fmt.Fprintln(std.Out, d)
		return err
	}
}

// serveNull is the setup of the null broker.
func serveNull(fs *flag.FlagSet, _ program.Stdio) func(context.Context) error {
	addr := fs.String("tcp-address", "127.0.0.1:4150", "`host:port` to listen on")
	web := fs.String("http-address", "", "`host:port` of a bare net/http server that answers OK; none if empty")
	size := fs.Int("size", 200, "`bytes` of the bodies that are delivered")
	return func(ctx context.Context) error {
		if *size < 1 {
			return fmt.Errorf("--size %d: must be 1 or more", *size)
		}
		l, err := net.Listen("tcp", *addr)
		if err != nil {
			return fmt.Errorf("opening the TCP port: %w", err)
		}
		if *web == "" {
			return null.Run(ctx, l, *size)
		}
		h, err := net.Listen("tcp", *web)
		if err != nil {
			return errors.Join(fmt.Errorf("opening the HTTP port: %w", err), l.Close())
		}
		err = load.Together(ctx,
			func(ctx context.Context) error { return null.Run(ctx, l, *size) },
			func(ctx context.Context) error { return null.RunHTTP(ctx, h) })
		if ctx.Err() != nil {
			return nil // it was asked to end
		}
		return err
	}
}

func jsonFlag(fs *flag.FlagSet) *bool {
	return fs.Bool("json", false, "print JSON instead of a table")
}

func show(std program.Stdio, rows []report.Row, asJSON bool) error {
	if asJSON {
		return report.JSON(std.Out, rows)
	}
	return report.Table(std.Out, rows)
}

// interrupted replaces whatever a signal made fail.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted")
	}
	return err
}
