package main

import (
	"io"

	"github.com/millrace-mq/millrace/protocol"
)

// maxBatchBytes bounds a batch of several records, well below what daemons
// take as one command. A larger record is a batch of its own.
const maxBatchBytes = protocol.DefaultMaxBodySize / 5

// batch is some records that are published together. It is not changed once it
// is complete, so that several lanes can share it.
type batch struct {
	bodies [][]byte
	lines  []int64 // where each body came from
	bytes  int     // of the bodies as they are sent
}

// fits reports whether a body of size bytes can join a batch of at most limit.
func (b *batch) fits(size, limit int) bool {
	n := len(b.bodies)
	return n == 0 || n < limit && b.bytes+size+4 <= maxBatchBytes
}

func (b *batch) add(body []byte, line int64) {
	b.bodies = append(b.bodies, body)
	b.lines = append(b.lines, line)
	b.bytes += len(body) + 4
}

// from returns the batch without its first n records.
func (b *batch) from(n int) *batch {
	return &batch{bodies: b.bodies[n:], lines: b.lines[n:]}
}

// last returns the line of the last record.
func (b *batch) last() int64 { return b.lines[len(b.lines)-1] }

// batches splits a stream into batches of at most limit records and hands them
// to emit, until the stream ends (nil) or fails, or emit returns false (nil). A
// batch never waits for input: what is there when a read would be next, goes.
func batches(r *records, limit int, emit func(*batch) bool) error {
	b := &batch{}
	for {
		body, line, ok := r.take()
		tooLong := len(body) > r.limit
		if (!ok || tooLong || !b.fits(len(body), limit)) && len(b.bodies) > 0 {
			if !emit(b) {
				return nil
			}
			b = &batch{}
		}
		switch {
		case tooLong:
			return r.tooLong(line)
		case ok:
			b.add(body, line)
			continue
		}
		if err := r.read(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}
