package takeover

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nsqio/go-diskqueue"
)

// Message is a message of nsqd's.
type Message struct {
	Published int64        // ns since the Unix epoch
	Attempts  uint16       // deliveries so far
	ID        [idSize]byte // lowercase hex digits; unique within a topic only
	Body      []byte       // valid until the function it was given to returns
}

// Finding is what came of reading a queue.
type Finding struct {
	// Messages is how many were passed on.
	Messages int64
	// Depth is how many there should be, as far as nsqd wrote it down; -1 if it
	// did not. After a crash of nsqd there may be more or fewer.
	Depth int64
	// Damage has the first of the damaged stretches, Damaged counts them all,
	// and Lost is how many bytes they have.
	Damage  []Damage
	Damaged int
	Lost    int64
	// Notes are what else an operator should know, a sentence each.
	Notes []string
}

// maxDamage is how many damaged stretches a Finding lists.
const maxDamage = 100

// Read calls f for each message of a topic's own queue, if channel is empty, or
// of a channel's, in the order of the queue. A message larger than 512 MiB is
// taken for damage; there is no other limit. What is damaged is passed over and
// reported. The end of ctx, an error from f, and a file that cannot be read at
// all end the reading; the error wraps theirs. The Finding then covers what was
// read so far.
func (s *Source) Read(ctx context.Context, topic, channel string, f func(m Message) error) (Finding, error) {
	name := queueName(topic, channel)
	r := reader{ctx: ctx, dir: s.dir, f: f}
	if err := r.queue(s.queues[name]); err != nil {
		return r.Finding, fmt.Errorf("reading nsqd's queue %s: %w", name, err)
	}
	return r.Finding, nil
}

// reader reads one queue.
type reader struct {
	ctx context.Context // of the call of Read that the reader lives in
	dir string
	f   func(m Message) error
	Finding
}

func (r *reader) queue(q queue) error {
	p := unknown
	if q.meta != "" {
		var err error
		p, err = readPosition(filepath.Join(r.dir, q.meta))
		if errors.Is(err, errIllegible) {
			r.note("%s: %v; the queue is read from its first file on", q.meta, err)
		} else if err != nil {
			return err
		}
	}
	r.Depth = p.depth
	for _, file := range q.data {
		if r.ctx.Err() != nil {
			return context.Cause(r.ctx)
		}
		from := int64(0)
		switch {
		case file.number == p.file:
			from = p.place
		case file.number < p.file:
			// nsqd removes a file when it has read it, so one of the two, the
			// file or the position, is not as it should be.
			r.note("%s: nsqd noted that it had read this file; it is there, and so is read", file.name)
		}
		if err := r.file(file.name, from); err != nil {
			return err
		}
	}
	if r.Depth >= 0 && r.Depth != r.Messages {
		r.note("nsqd noted %d messages, there are %d", r.Depth, r.Messages)
	}
	return nil
}

func (r *reader) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

func (r *reader) file(name string, from int64) error {
	path := filepath.Join(r.dir, name)
	runs, damage, astray, err := surveyFile(path, from)
	if err != nil {
		return err
	}
	if astray {
		r.note("%s: no message begins at %d, where nsqd noted that reading goes on; the whole file is read", name, from)
	}
	for _, d := range damage {
		d.File = name
		r.Damaged++
		r.Lost += d.To - d.From
		if len(r.Damage) < maxDamage {
			r.Damage = append(r.Damage, d)
		}
	}
	for _, part := range runs {
		if err := r.part(path, part); err != nil {
			return fmt.Errorf("%s from %d to %d: %w", path, part.from, part.to, err)
		}
	}
	return nil
}

// scratchQueue is what go-diskqueue knows a queue as. It has one file, number
// 0, so that it is no matter how the real one is called and numbered, nor what
// go-diskqueue does where one file ends and the next begins.
const scratchQueue = "q"

// part reads a run through go-diskqueue, in a scratch folder.
func (r *reader) part(path string, part run) (err error) {
	scratch, err := os.MkdirTemp(r.dir, scratchPrefix+"*"+scratchSuffix)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	from, err := stage(path, filepath.Join(scratch, scratchQueue+".diskqueue.000000.dat"), part, os.Link)
	if err != nil {
		return err
	}
	meta := fmt.Sprintf("%d\n0,%d\n0,%d\n", part.records, from, from+part.to-part.from)
	if err := os.WriteFile(filepath.Join(scratch, scratchQueue+".diskqueue.meta.dat"), []byte(meta), 0o600); err != nil {
		return err
	}
	return r.pump(scratch, part)
}

// stage puts a run where go-diskqueue may do with it as it likes, and returns
// where in the file it begins: the whole file by a link, which link makes, or
// else a copy of the run.
func stage(path, to string, part run, link func(from, to string) error) (from int64, err error) {
	// A link to a symbolic link would not lead anywhere from its new place.
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return 0, err
	}
	if link(path, to) == nil {
		return part.from, nil
	}
	in, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	// #nosec G304 -- on the data path; names of topics and channels have no slash
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(out, io.NewSectionReader(in, part.from, part.to-part.from))
	return 0, errors.Join(err, out.Close())
}

// pump passes on the messages of a run. It asks for as many as the survey has
// seen: what go-diskqueue would make of the damage behind them does not matter,
// and since no larger record is allowed than there is, it cannot be made to
// take a false length for the memory it needs.
func (r *reader) pump(scratch string, part run) error {
	trouble := make(chan string, 1)
	dir := strings.ReplaceAll(scratch, "%", "%%") // go-diskqueue formats it
	// #nosec G115 -- a time is the same 64 bits, and a record no larger than 2 GiB
	q := diskqueue.New(scratchQueue, dir, math.MaxInt64/2, headSize, int32(part.largest),
		math.MaxInt64, time.Hour, func(l diskqueue.LogLevel, format string, args ...any) {
			if l < diskqueue.ERROR {
				return
			}
			select {
			case trouble <- fmt.Sprintf(format, args...):
			default:
			}
		})
	// It ends go-diskqueue's goroutine as Close does, but does not sync what is
	// removed in a moment.
	defer func() { _ = q.Delete() }()
	messages := q.ReadChan()
	for n := range part.records {
		select {
		case <-r.ctx.Done():
			return context.Cause(r.ctx)
		case text := <-trouble: // go-diskqueue complains only when all before is taken
			return fmt.Errorf("go-diskqueue read %d of %d messages: %s", n, part.records, text)
		case b := <-messages:
			if err := r.f(decode(b)); err != nil {
				return err
			}
			r.Messages++
		}
	}
	return nil
}

// decode reads a record without its length; it has headSize bytes at least.
func decode(b []byte) Message {
	m := Message{
		// #nosec G115 -- a time is the same 64 bits, and a record no larger than 2 GiB
		Published: int64(binary.BigEndian.Uint64(b)),
		Attempts:  binary.BigEndian.Uint16(b[8:]),
		Body:      b[headSize:],
	}
	copy(m.ID[:], b[10:])
	return m
}
