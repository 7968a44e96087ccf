package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"syscall"

	"github.com/millrace-mq/millrace/apps/stat/board"
)

// lines is the face of a pipe or a file.
type lines struct {
	settings *settings
	out      io.Writer
	text     func(*board.Sample) ([]byte, error)
	log      *slog.Logger
	said     string // what was complained of last
}

// lines returns the face that the flags ask for.
func (s *settings) lines(out io.Writer, log *slog.Logger) *lines {
	l := &lines{settings: s, out: out, log: log}
	line := new(board.Lines).Line
	if s.only.Topic != "" && s.only.Channel != "" && !s.plain {
		line = new(board.Columns).Line
	}
	l.text = func(sample *board.Sample) ([]byte, error) { return []byte(line(sample)), nil }
	if s.json {
		l.text = board.Object
	}
	return l
}

// show writes a line for each sample but the first, which has no rates yet.
func (l *lines) show(ctx context.Context, w *watched) error {
	if w.next(ctx) == nil {
		return nil
	}
	for shown := 1; ; shown++ {
		sample := w.next(ctx)
		if sample == nil {
			return nil
		}
		l.complain(sample)
		text, err := l.text(sample)
		if err != nil {
			return fmt.Errorf("writing JSON: %w", err)
		}
		if _, err := l.out.Write(text); errors.Is(err, syscall.EPIPE) {
			return nil // who reads has seen enough
		} else if err != nil {
			return fmt.Errorf("writing to standard output: %w", err)
		}
		if shown == l.settings.count {
			return l.settings.verdict(sample)
		}
	}
}

var errNoNode = errors.New("no queue daemon is known: no lookupd lists one")

// complain logs what is missing when that changes. That a daemon does not answer is
// logged by those who ask it.
func (l *lines) complain(sample *board.Sample) {
	var missing error
	if len(sample.Nodes) == 0 {
		missing = errNoNode
	} else {
		missing = l.settings.missing(sample)
	}
	now := ""
	if missing != nil {
		now = missing.Error()
	}
	if now != l.said && now != "" {
		l.log.Warn("nothing can be shown", "error", missing)
	}
	l.said = now
}
