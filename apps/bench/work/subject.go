package work

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/millrace-mq/millrace/apps/bench/broker"
	"github.com/millrace-mq/millrace/apps/bench/load"
	"github.com/millrace-mq/millrace/apps/bench/null"
	"github.com/millrace-mq/millrace/apps/bench/report"
	"github.com/millrace-mq/millrace/internal/program"
)

// Subject is the broker that is measured: one that runs already, one to be
// started for each workload, or the null broker.
type Subject struct {
	TCP, HTTP string
	PID       int
	Start     string // a command line; empty to use what listens on TCP
	Null      bool
}

// Flags declares the flags that choose the subject.
func (s *Subject) Flags(fs *flag.FlagSet) {
	fs.StringVar(&s.TCP, "tcp-address", "127.0.0.1:4150", "`host:port` of the broker's TCP protocol")
	fs.StringVar(&s.HTTP, "http-address", "127.0.0.1:4151", "`host:port` of the broker's HTTP API")
	for _, prefix := range []string{"qd-", "nsqd-"} {
		program.Alias(fs, prefix+"tcp-address", "tcp-address")
		program.Alias(fs, prefix+"http-address", "http-address")
	}
	fs.IntVar(&s.PID, "pid", 0, "`process` of the broker on this machine, for its CPU and memory")
	fs.StringVar(&s.Start, "start", "", "start this `command` for each workload and stop it afterwards, instead of using a running broker; addresses, --data-path, --mem-queue-size and, for --tls, a certificate made for it are added")
}

// check reports settings that contradict each other.
func (s *Subject) check(set Settings) error {
	if s.Null && s.Start != "" {
		return errors.New("--null and --start both name the broker: give one")
	}
	if s.Null && set.layered() {
		return errNoLayers
	}
	if strings.TrimSpace(s.Start) == "" && s.Start != "" {
		return errors.New("--start: the command is empty")
	}
	return nil
}

// Run does w on the subject.
func (s *Subject) Run(ctx context.Context, w Work, set Settings) (results []report.Result, err error) {
	if err := s.check(set); err != nil {
		return nil, err
	}
	if s.Null {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("starting the null broker: %w", err)
		}
		launch := broker.Launch{Command: []string{self, "null", "--size", strconv.Itoa(set.Size)}, Null: true}
		err = launch.Run(ctx, func(ctx context.Context, t broker.Target) (err error) {
			results, err = w.Run(ctx, t, set)
			return err
		})
		return results, err
	}
	err = s.Use(ctx, w.MemQueueSize(set.Messages), set.TLS, func(ctx context.Context, t broker.Target) (err error) {
		results, err = w.Run(ctx, t, set)
		return err
	})
	return results, err
}

// Use calls f with the broker, which runs already or is started, with the memory
// and the certificate that Launch describes.
func (s *Subject) Use(ctx context.Context, memQueueSize int64, tls bool, f func(context.Context, broker.Target) error) error {
	if err := s.check(Settings{}); err != nil {
		return err
	}
	if s.Start != "" {
		return broker.Launch{Command: strings.Fields(s.Start), MemQueueSize: memQueueSize, TLS: tls}.Run(ctx, f)
	}
	t, err := s.running(ctx)
	if err != nil {
		return err
	}
	return f(ctx, t)
}

// running looks at the broker that runs already.
func (s *Subject) running(ctx context.Context) (broker.Target, error) {
	t := broker.Target{Name: s.TCP, TCP: s.TCP, HTTP: s.HTTP, PID: s.PID}
	info, err := load.Identify(ctx, s.TCP)
	if err != nil {
		return t, err
	}
	if info.Version == null.Version {
		t.Name, t.HTTP, t.Null = "null", "", true
	}
	return t, nil
}
