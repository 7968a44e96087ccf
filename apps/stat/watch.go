package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/admin/cluster"
	"github.com/millrace-mq/millrace/admin/history"
	"github.com/millrace-mq/millrace/admin/sampler"
	"github.com/millrace-mq/millrace/admin/trouble"
	"github.com/millrace-mq/millrace/apps/stat/board"
	"github.com/millrace-mq/millrace/internal/secure"
)

// historyBytes bounds what is remembered of the last minutes, from which growing backlogs
// are told: 50 MiB are for some ten thousand topics and channels.
const historyBytes = 48 << 20

// face shows samples to somebody.
type face interface {
	// show runs until ctx ends or there is nothing more to show. It is given the samples as
	// they come.
	show(ctx context.Context, w *watched) error
}

// watched is the daemons that are being watched.
type watched struct {
	sampler *sampler.Sampler
	gauge   *board.Gauge
}

// next waits for a sample that is newer than the last one. It is nil if ctx ends first.
func (w *watched) next(ctx context.Context) *board.Sample {
	for {
		changed := w.sampler.Changed()
		select {
		case <-changed:
			if snap := w.sampler.Latest(); !snap.At.IsZero() {
				return w.gauge.Sample(snap)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// cluster is the daemons that the flags name.
func (s *settings) cluster(log *slog.Logger) (*cluster.Cluster, error) {
	tls, err := secure.Client(s.client, log)
	if err != nil {
		return nil, err
	}
	c := cluster.Settings{Lookupds: s.lookupds, Daemons: s.daemons, ConnectTimeout: s.connect, RequestTimeout: s.request, TLS: tls}
	if s.tokenFile != "" {
		text, err := os.ReadFile(s.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("http-client-token-file: %w", err)
		}
		line, _, _ := strings.Cut(string(text), "\n")
		c.Token, c.TokenSealed = strings.TrimSpace(line), s.client.RootCA != ""
	}
	return cluster.New(c, log)
}

// watch watches the daemons for as long as the face shows them, and returns when nothing
// of both is left.
func (s *settings) watch(ctx context.Context, c *cluster.Cluster, log *slog.Logger, f face) error {
	defer c.Close()
	ask := sampler.Settings{Period: s.interval, Topic: s.only.Topic}
	if s.only.Topic != "" {
		ask.Channel = s.only.Channel // of all topics, daemons are not asked for a channel alone
	}
	store := history.New(history.Settings{Step: max(s.interval, 2*time.Second), MaxBytes: historyBytes})
	// Who looks all the time wants to see what goes: on a page troubles stay for longer.
	finder := trouble.NewFinder(trouble.Settings{Linger: 2 * s.interval})
	w := &watched{sampler.New(ask, c, store, finder, log), board.NewGauge(s.only)}
	ctx, stop := context.WithCancel(ctx)
	var sampling sync.WaitGroup
	sampling.Go(func() { _ = w.sampler.Run(ctx) }) // returns nil
	err := f.show(ctx, w)
	stop()
	sampling.Wait()
	return err
}

// verdict is why what was shown is not what was asked for, if it is not.
func (s *settings) verdict(last *board.Sample) error {
	switch {
	case last == nil:
		return nil
	case last.Up() == 0:
		var all []string
		for _, c := range last.Complaints() {
			all = append(all, c.Text)
		}
		if len(all) == 0 {
			all = append(all, "lookupds list no queue daemon")
		}
		return errors.New("no queue daemon answers: " + strings.Join(all, "; "))
	}
	return s.missing(last)
}

// missing says that what was named is nowhere.
func (s *settings) missing(sample *board.Sample) error {
	if s.only == (board.Only{}) || len(sample.Rows) > 0 {
		return nil
	}
	switch {
	case s.only.Channel == "":
		return fmt.Errorf("topic %q: no daemon that answers has it", s.only.Topic)
	case s.only.Topic == "":
		return fmt.Errorf("channel %q: no daemon that answers has it", s.only.Channel)
	}
	return fmt.Errorf("channel %q of topic %q: no daemon that answers has it", s.only.Channel, s.only.Topic)
}
