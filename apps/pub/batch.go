package main

import (
	"sync"
	"sync/atomic"

	"github.com/millrace-mq/millrace/protocol"
)

// maxBatchBytes bounds a batch of several records, well below what daemons
// take as one command. A larger record is a batch of its own.
const maxBatchBytes = protocol.DefaultMaxBodySize / 5

// batch is some records of one topic that are published together. What is to be
// published is not changed once it is complete, so that several sinks can share it.
type batch struct {
	topic  string
	bodies [][]byte
	lines  []int64  // where each body came from
	kept   [][]byte // each record as it was read, if that is not its body
	size   int      // bytes of the bodies as they are sent

	left   atomic.Int64 // outcomes that are missing, over all sinks
	mu     sync.Mutex   // guards failed
	failed []bool       // by body: not acknowledged by some sink; nil while there is none
}

// newBatch returns an empty batch with room for about n records.
func newBatch(topic string, n int) *batch {
	n += n / 8
	return &batch{topic: topic, bodies: make([][]byte, 0, n), lines: make([]int64, 0, n)}
}

// fits reports whether a body of size bytes can join a batch of at most limit.
func (b *batch) fits(size, limit int) bool {
	n := len(b.bodies)
	return n == 0 || n < limit && b.size+size+4 <= maxBatchBytes
}

func (b *batch) add(body []byte, line int64) {
	b.bodies = append(b.bodies, body)
	b.lines = append(b.lines, line)
	b.size += len(body) + 4
}

// part is some records of a batch that stand together in it.
type part struct {
	*batch
	from, to int
}

func (b *batch) whole() part { return part{b, 0, len(b.bodies)} }

func (p part) len() int { return p.to - p.from }

func (p part) messages() [][]byte { return p.bodies[p.from:p.to] }

func (p part) first() int64 { return p.lines[p.from] }

// halves are what a part is divided into to find the record that a daemon refuses.
func (p part) halves() (a, b part) {
	middle := p.from + p.len()/2
	return part{p.batch, p.from, middle}, part{p.batch, middle, p.to}
}
