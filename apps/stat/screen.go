package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/millrace-mq/millrace/apps/stat/board"
	"github.com/millrace-mq/millrace/internal/program"
)

// screen is the face of a terminal.
type screen struct {
	settings *settings
	out      *os.File

	state  board.State
	sample *board.Sample // nil: none yet
	ink    board.Ink
}

// terminalOf is the terminal that out is, if it is one that can do more than lines.
func terminalOf(out io.Writer) (*os.File, bool) {
	if !program.IsTerminal(out) || os.Getenv("TERM") == "dumb" {
		return nil, false
	}
	return out.(*os.File), true
}

// The terminal's other page, without a cursor, and back. Lines are not continued on the next
// one: some letters, such as those of a pause's reason, are wider than they are counted.
const (
	enter = "\x1b[?1049h\x1b[?25l\x1b[?7l"
	leave = "\x1b[?7h\x1b[?25h\x1b[?1049l"
)

// show draws each sample, and what keys change, until q, ctx or --count ends it. The
// terminal is then as it was.
func (s *screen) show(ctx context.Context, w *watched) (err error) {
	s.ink = board.Colours
	if os.Getenv("NO_COLOR") != "" {
		s.ink = board.Plain
	}
	s.state.SortBy(board.Order(s.settings.order.Value))
	ctx, stop := context.WithCancel(ctx)
	var parts sync.WaitGroup
	defer parts.Wait()
	defer stop()
	keys, release := openKeys(&parts)
	defer release()
	resized := make(chan os.Signal, 1)
	notifyResize(resized)
	defer signal.Stop(resized)
	samples := make(chan *board.Sample)
	parts.Go(func() { feed(ctx, w, samples) })
	defer func() { _, gone := s.out.WriteString(leave); err = errors.Join(err, gone) }()
	if _, err := s.out.WriteString(enter); err != nil {
		return err
	}
	return s.loop(ctx, w, keys, resized, samples)
}

// feed passes samples on until ctx ends.
func feed(ctx context.Context, w *watched, to chan<- *board.Sample) {
	for {
		sample := w.next(ctx)
		if sample == nil {
			return
		}
		select {
		case to <- sample:
		case <-ctx.Done():
			return
		}
	}
}

func (s *screen) loop(ctx context.Context, w *watched, keys <-chan []byte, resized <-chan os.Signal, samples <-chan *board.Sample) error {
	shown := 0
	for {
		if err := s.draw(); err != nil {
			return err
		}
		if s.settings.count > 0 && shown > s.settings.count {
			return s.settings.verdict(s.sample)
		}
		select {
		case <-ctx.Done():
			return nil
		case s.sample = <-samples:
			shown++ // the first has no rates, and does not count
		case sent := <-keys:
			for _, k := range board.Keys(sent) {
				switch s.state.Press(k) {
				case board.Quit:
					return nil
				case board.Refresh:
					w.sampler.Poke()
				}
			}
		case <-resized:
		}
	}
}

// draw writes the whole screen in one piece: it does not flicker, and what other programs
// have written on it is gone. A line is cleared before it is written: behind its last letter,
// where it is as wide as the screen, that would clear the letter.
func (s *screen) draw() error {
	size := board.Size{Columns: 80, Rows: 24}
	if columns, rows, err := term.GetSize(int(s.out.Fd())); err == nil && columns > 0 && rows > 0 {
		size = board.Size{Columns: columns, Rows: rows}
	}
	var b bytes.Buffer
	b.WriteString("\x1b[H\x1b[K")
	b.WriteString(strings.Join(s.state.Draw(s.sample, size, s.settings.interval, s.ink), "\r\n\x1b[K"))
	_, err := s.out.Write(b.Bytes())
	return err
}

// openKeys begins to read keys from the terminal that the process belongs to, which
// standard input need not be; without one there are none, and signals are left. release
// ends it and gives the terminal back its manners.
func openKeys(parts *sync.WaitGroup) (keys <-chan []byte, release func()) {
	sent := make(chan []byte)
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return sent, func() {}
	}
	restore, err := raw(tty)
	if err != nil {
		_ = tty.Close()
		return sent, func() {}
	}
	released := make(chan struct{})
	read := func() { readKeys(tty, sent, released) }
	// Where a read of a terminal cannot be ended, nobody waits for it: it ends with
	// the process.
	if tty.SetReadDeadline(time.Time{}) == nil {
		parts.Go(read)
	} else {
		go read()
	}
	return sent, func() {
		restore()
		close(released)
		_ = tty.SetReadDeadline(time.Unix(1, 0))
		_ = tty.Close()
	}
}

// raw has the terminal send each key as it is typed. It works without Fd, after which a
// file has no deadlines.
func raw(tty *os.File) (restore func(), err error) {
	conn, err := tty.SyscallConn()
	if err != nil {
		return nil, err
	}
	var before *term.State
	if failed := conn.Control(func(fd uintptr) { before, err = term.MakeRaw(int(fd)) }); failed != nil {
		return nil, failed
	}
	if err != nil {
		return nil, err
	}
	return func() { _ = conn.Control(func(fd uintptr) { _ = term.Restore(int(fd), before) }) }, nil
}

func readKeys(tty *os.File, to chan<- []byte, released <-chan struct{}) {
	for {
		buf := make([]byte, 256)
		n, err := tty.Read(buf)
		if n > 0 {
			select {
			case to <- buf[:n]:
			case <-released:
				return
			}
		}
		if err != nil {
			return
		}
	}
}
