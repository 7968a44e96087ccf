package archive

import (
	"errors"
	"fmt"
	"hash"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/apps/internal/record"
)

// flushSize is how many bytes of lines are gathered for one write. It is large
// enough that writes cost nothing beside the lines themselves, and small
// enough to stay in a processor's cache.
const flushSize = 256 << 10

// buffers are lent to files that have something to write: of a thousand
// topics, most are quiet.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, flushSize+flushSize/4)
	return &b
}}

// openFile is a file that messages are appended to.
type openFile struct {
	a      *Archive
	f      File
	path   string
	id     identity
	state  state
	marker *marker // nil while another process has it: both write, as they did before there were markers

	buf    *[]byte     // nil while lines is empty
	lines  []byte      // whole messages not yet written, in buf's memory unless one was huge
	member *compressor // nil between members
	dirty  bool        // something was written, or is in lines, since the last sync

	size  int64    // of the file, by what was written
	now   progress // with all that was appended
	safe  progress // as of the last sync
	first stamped
	last  stamped
	sum   hash.Hash // of what was written; nil if no sidecar wants it, or it went astray

	uncut bool // what is behind safe.Size has to go before anything else is written
}

// stamped is a message's place in time, taken without allocating.
type stamped struct {
	id [16]byte
	at time.Time
}

func (s stamped) stamp() *Stamp {
	if s.at.IsZero() {
		return nil
	}
	return &Stamp{ID: string(record.AppendID(nil, s.id)), Timestamp: s.at.UnixNano()}
}

// append adds a message. Writes always end with one, so that two processes
// which append to one file do not mix within a line.
func (o *openFile) append(m *record.Record) error {
	if o.uncut {
		if err := o.cut(); err != nil {
			return err
		}
	}
	if o.buf == nil {
		o.buf = buffers.Get().(*[]byte)
		o.lines = (*o.buf)[:0]
	}
	before := len(o.lines)
	o.lines = o.a.format.Append(o.lines, m)
	n := int64(len(o.lines) - before)
	o.state.bytes += n
	o.now.Bytes += n
	if o.now.Lines++; o.now.Lines == 1 {
		o.first = stamped{m.ID, m.Timestamp}
	}
	o.last = stamped{m.ID, m.Timestamp}
	o.dirty = true
	if len(o.lines) < flushSize {
		return nil
	}
	return o.flush()
}

func (o *openFile) flush() (err error) {
	if len(o.lines) == 0 {
		return nil
	}
	if o.a.compression == None {
		_, err = o.Write(o.lines)
	} else {
		if o.member == nil {
			o.member = o.a.compression.member(o.a.level, o)
		}
		_, err = o.member.in.Write(o.lines)
	}
	if err != nil {
		return fmt.Errorf("append to %s: %w", o.path, err)
	}
	o.empty()
	return nil
}

// Write appends to the file and counts.
func (o *openFile) Write(p []byte) (int, error) {
	n, err := o.f.Write(p)
	o.size += int64(n)
	if o.sum != nil {
		o.sum.Write(p[:n])
	}
	return n, err
}

// empty forgets lines. Its memory is another's, but for that of a huge message,
// which is nobody's.
func (o *openFile) empty() {
	if o.buf != nil {
		buffers.Put(o.buf)
	}
	o.buf, o.lines = nil, nil
}

// endMember ends the open member, or writes an empty one if there is none.
func (o *openFile) endMember() error {
	if o.member == nil {
		o.member = o.a.compression.member(o.a.level, o)
	}
	if err := o.member.end(); err != nil {
		return fmt.Errorf("append to %s: %w", o.path, err)
	}
	o.dropMember()
	return nil
}

func (o *openFile) dropMember() {
	if o.member != nil {
		o.a.compression.giveBack(o.a.level, o.member)
		o.member = nil
	}
}

func (o *openFile) sync() error {
	if o.uncut {
		if err := o.cut(); err != nil {
			return err
		}
	}
	if !o.dirty {
		return nil
	}
	if err := o.flush(); err != nil {
		return err
	}
	if o.a.compression != None {
		if err := o.endMember(); err != nil {
			return err
		}
	}
	if err := o.f.Sync(); err != nil {
		return fmt.Errorf("make the lines in %s safe: %w", o.path, err)
	}
	if named, err := o.f.Named(); err != nil {
		return fmt.Errorf("look at %s: %w", o.path, err)
	} else if !named {
		return fmt.Errorf("make the lines in %s safe: %w", o.path, ErrRemoved)
	}
	return o.settle()
}

// settle takes note that all that was written is on the device.
func (o *openFile) settle() error {
	o.dirty = false
	o.now.Size = o.size
	if !o.a.exclusive {
		// Others may have written too; theirs are whole as well.
		size, err := o.f.Size()
		if err != nil {
			return fmt.Errorf("look at %s: %w", o.path, err)
		}
		o.size, o.now.Size = size, size
	}
	o.now.First, o.now.Last = o.first.stamp(), o.last.stamp()
	o.safe = o.now
	if o.marker == nil {
		return nil
	}
	return o.marker.update(o.safe)
}

// undo forgets what was appended since the last sync, and cuts it off the
// file, for the disk is full and the caller will bring it again.
func (o *openFile) undo() error {
	o.empty()
	o.dropMember()
	o.state.bytes -= o.now.Bytes - o.safe.Bytes
	o.now = o.safe
	o.dirty = false
	if o.size == o.safe.Size {
		return nil
	}
	// A sum cannot go back; if it is wanted, the file is read for it.
	o.sum = nil
	o.uncut = true
	return o.cut()
}

// cut does undo's work on the file. Until it has succeeded, nothing is written.
func (o *openFile) cut() error {
	err := o.truncate()
	if err == nil && !o.a.exclusive {
		err = o.mendTail()
	}
	if err != nil {
		return fmt.Errorf("cut off what is not safe in %s: %w", o.path, err)
	}
	o.uncut = false
	return nil
}

func (o *openFile) truncate() error {
	if o.a.exclusive {
		o.size = o.safe.Size
		return o.f.Truncate(o.safe.Size)
	}
	// What others have written since the last sync must stay. Then ours stays as
	// well, and comes twice.
	alone, err := o.f.Lock(true)
	if err == nil && alone {
		var size int64
		if size, err = o.f.Size(); err == nil && size == o.size {
			err = o.f.Truncate(o.safe.Size)
		}
	}
	_, lockErr := o.f.Lock(false) // others may begin again
	return errors.Join(err, lockErr)
}

// fill makes a compressed file of nothing one: no bytes at all would be none,
// but an empty member is.
func (o *openFile) fill() error {
	if o.a.compression == None || o.size > 0 {
		return nil
	}
	o.dirty = true
	return o.sync()
}

// ended is what is to be done with the file once it is closed.
func (o *openFile) ended(now time.Time) *ended {
	e := &ended{dir: o.a.work, id: o.id, now: o.safe, marker: o.marker}
	e.now.Closed = now
	if o.sum != nil {
		e.sum = sumOf(o.sum)
	}
	return e
}

// mendTail ends the last line of a file that is continued. A process that was
// killed in a write can leave half a line; it was never FINished, so it comes
// again whole, and must not be glued to its own beginning. Only plain lines are
// continued.
func (o *openFile) mendTail() error {
	size, err := o.f.Size()
	if err != nil {
		return fmt.Errorf("look at %s: %w", o.path, err)
	}
	o.size, o.safe.Size, o.now.Size = size, size, size
	if size == 0 {
		return nil
	}
	var last [1]byte
	if _, err := o.f.ReadAt(last[:], size-1); err != nil {
		return fmt.Errorf("read the end of %s: %w", o.path, err)
	}
	if last[0] == '\n' {
		return nil
	}
	if _, err := o.Write([]byte("\n")); err != nil {
		return fmt.Errorf("end a line in %s: %w", o.path, err)
	}
	o.state.bytes++
	o.dirty = true
	return nil
}
