package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/millrace-mq/millrace/apps/internal/record"
)

const (
	chunkSize = 256 << 10
	// minRead is the room that a read is given at least.
	minRead = 16 << 10
)

// framing says where a record ends.
type framing struct {
	delim []byte // is behind each record; empty if records follow their length, four bytes, big-endian
	limit int    // bytes of a record that is held in memory; a larger one is skipped
	read  int    // bytes that are read at once, at most; 0 is as many as there is room for
}

// records splits a stream into records. What it hands out aliases memory that is
// never written again, so that it can be kept.
type records struct {
	framing
	in   io.Reader
	name string // of the stream, for errors

	chunk   []byte // read so far: records handed out, then unsplit
	next    int    // where unsplit bytes begin
	scanned int    // how far there is no delimiter
	line    int64  // records before next, empty ones included
	ended   error  // what the last read returned besides bytes

	skipping bool  // next is within a record that is not held
	skipped  int64 // bytes of it that are gone
	size     int64 // of the whole, if it has said so
}

// piece is a record as the stream has it.
type piece struct {
	data []byte // nil if it was too large to be held
	line int64  // its number, counted from 1, empty ones included
	size int64  // bytes
}

// take returns the next record that is already here and not empty. ok is false
// if more must be read first.
func (r *records) take() (p piece, ok bool) {
	for {
		if r.skipping {
			return r.skip()
		}
		data, n, ok := r.cut()
		switch {
		case r.skipping:
			continue
		case !ok:
			return r.takeLast()
		}
		r.next += n
		r.scanned = r.next
		r.line++
		if len(data) > 0 {
			return piece{data, r.line, int64(len(data))}, true
		}
	}
}

// cut returns the record at next, and how many bytes it takes in the stream.
func (r *records) cut() (data []byte, n int, ok bool) {
	if len(r.delim) > 0 {
		i := r.find()
		if i < 0 {
			r.scanned = len(r.chunk)
			r.skipping = i < 0 && len(r.chunk)-r.next > r.limit+len(r.delim) && r.ended == nil
			return nil, 0, false
		}
		return r.chunk[r.next:i:i], i + len(r.delim) - r.next, true
	}
	rest := r.chunk[r.next:]
	if len(rest) < record.PrefixSize {
		return nil, 0, false
	}
	size := record.BodySize(rest)
	if size > int64(r.limit) {
		r.skipping, r.size = true, size
		r.next += record.PrefixSize
		return nil, 0, false
	}
	end := record.PrefixSize + int(size)
	if len(rest) < end {
		return nil, 0, false
	}
	return rest[record.PrefixSize:end:end], end, true
}

// find returns where the next delimiter is in chunk, or a negative number. One that
// is not one byte may have begun in what was scanned before.
func (r *records) find() int {
	from := max(r.next, r.scanned-len(r.delim)+1)
	i := bytes.Index(r.chunk[from:], r.delim)
	if i < 0 {
		return i
	}
	return from + i
}

// takeLast returns what follows the last delimiter once the stream has ended
// well. After a read error it may be half a record, and is not one.
func (r *records) takeLast() (p piece, ok bool) {
	if r.ended != io.EOF || r.next == len(r.chunk) {
		return piece{}, false
	}
	data := r.chunk[r.next:]
	if len(r.delim) == 0 {
		said := "its length"
		if len(data) >= record.PrefixSize {
			said = fmt.Sprintf("%d bytes", record.PrefixSize+record.BodySize(data))
		}
		r.ended = r.torn(int64(len(data)), said)
		return piece{}, false
	}
	r.next, r.scanned = len(r.chunk), len(r.chunk)
	r.line++
	return piece{data, r.line, int64(len(data))}, true
}

func (r *records) torn(has int64, of string) error {
	return fmt.Errorf("%s ends within record %d, of which it has %d bytes of %s (is it length-prefixed?)", r.name, r.line+1, has, of)
}

// skip drops what is here of a record that is not held, and returns the record
// once it is at its end.
func (r *records) skip() (p piece, ok bool) {
	here := len(r.chunk) - r.next
	drop, after, end := max(0, here-max(0, len(r.delim)-1)), 0, false
	if len(r.delim) == 0 {
		drop = int(min(int64(here), r.size-r.skipped))
		end = r.skipped+int64(drop) == r.size
	} else if i := r.find(); i >= 0 {
		drop, after, end = i-r.next, len(r.delim), true
	} else if r.ended == io.EOF {
		drop, end = here, true
	}
	r.skipped += int64(drop)
	r.next += drop + after
	r.scanned = r.next
	if !end {
		if r.ended == io.EOF {
			r.ended = r.torn(r.skipped, fmt.Sprintf("%d bytes", r.size))
		}
		return piece{}, false
	}
	r.line++
	p = piece{nil, r.line, r.skipped}
	r.skipping, r.skipped, r.size = false, 0, 0
	return p, true
}

// fetch waits for more of the stream. It returns io.EOF only when take has
// nothing left to give.
func (r *records) fetch() error {
	if r.ended != nil {
		return r.ended
	}
	r.makeRoom()
	room := r.chunk[len(r.chunk):cap(r.chunk)]
	if r.read > 0 {
		room = room[:min(len(room), r.read)]
	}
	n, err := r.in.Read(room)
	r.chunk = r.chunk[:len(r.chunk)+n]
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF):
		r.ended = io.EOF
		return nil
	case errors.Is(err, errInterrupted):
		r.ended = err
	default:
		r.ended = fmt.Errorf("read %s after record %d: %w", r.name, r.line, err)
	}
	if n > 0 {
		return nil // what came with the error is whole
	}
	return r.ended
}

// makeRoom moves the unsplit bytes to new memory when the old is used up.
func (r *records) makeRoom() {
	if cap(r.chunk)-len(r.chunk) >= minRead {
		return
	}
	unsplit := r.chunk[r.next:]
	chunk := make([]byte, len(unsplit), max(chunkSize, 2*len(unsplit)))
	copy(chunk, unsplit)
	r.chunk, r.scanned, r.next = chunk, r.scanned-r.next, 0
}
