package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

const (
	chunkSize = 256 << 10
	// minRead is the room that a read is given at least.
	minRead = 16 << 10
)

// records splits a stream into records. Its records alias memory that is never
// written again, so they can be kept.
type records struct {
	in    io.Reader
	delim byte
	limit int // bytes of a record at most

	chunk   []byte // read so far: records handed out, then unsplit
	next    int    // where unsplit bytes begin
	scanned int    // how far there is no delimiter
	line    int64  // records before next, empty ones included
	ended   error  // what the last read returned besides bytes
}

func newRecords(in io.Reader, delim byte, limit int) *records {
	return &records{in: in, delim: delim, limit: limit}
}

// take returns the next record that is already here and not empty, and its
// number, counted from 1, empty ones included. ok is false if more must be read
// first.
func (r *records) take() (record []byte, line int64, ok bool) {
	for {
		i := bytes.IndexByte(r.chunk[r.scanned:], r.delim)
		if i < 0 {
			r.scanned = len(r.chunk)
			return r.takeLast()
		}
		record = r.chunk[r.next : r.scanned+i : r.scanned+i]
		r.next = r.scanned + i + 1
		r.scanned = r.next
		r.line++
		if len(record) > 0 {
			return record, r.line, true
		}
	}
}

// takeLast returns what follows the last delimiter once the stream has ended
// well. After a read error it may be half a record, and is not one.
func (r *records) takeLast() (record []byte, line int64, ok bool) {
	if r.ended != io.EOF || r.next == len(r.chunk) {
		return nil, 0, false
	}
	record = r.chunk[r.next:]
	r.next = len(r.chunk)
	r.line++
	return record, r.line, true
}

// read waits for more of the stream. It returns io.EOF only when take has
// nothing left to give.
func (r *records) read() error {
	if r.ended != nil {
		return r.ended
	}
	if len(r.chunk)-r.next > r.limit {
		return r.tooLong(r.line + 1)
	}
	r.makeRoom()
	n, err := r.in.Read(r.chunk[len(r.chunk):cap(r.chunk)])
	r.chunk = r.chunk[:len(r.chunk)+n]
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF):
		r.ended = io.EOF
		return nil
	}
	r.ended = fmt.Errorf("read standard input after line %d: %w", r.line, err)
	return r.ended
}

func (r *records) tooLong(line int64) error {
	return fmt.Errorf("line %d is longer than the %d bytes of --max-msg-size"+
		" (it can be raised if the daemon's --max-msg-size is)", line, r.limit)
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
