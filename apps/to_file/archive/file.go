package archive

import (
	"bufio"
	"compress/gzip"
	"fmt"
)

// flushSize is how many bytes of lines are gathered for one write. It is large
// enough that writes cost nothing beside the lines themselves, and small
// enough to stay in a processor's cache.
const flushSize = 256 << 10

// openFile is a file that lines are appended to.
type openFile struct {
	f         File
	path, rel string
	state     state
	gzip      *gzipLines // nil for plain lines
	lines     []byte     // whole lines not yet written
	dirty     bool       // something was written, or is in lines, since the last sync
}

// append adds a line. Writes always end with a line, so that two processes
// which append to one file do not mix within a line.
func (o *openFile) append(body []byte) error {
	o.lines = append(o.lines, body...)
	o.lines = append(o.lines, '\n')
	o.state.bytes += int64(len(body)) + 1
	o.dirty = true
	if len(o.lines) < flushSize {
		return nil
	}
	return o.flush()
}

func (o *openFile) flush() error {
	if len(o.lines) == 0 {
		return nil
	}
	var err error
	if o.gzip != nil {
		err = o.gzip.write(o.lines)
	} else {
		_, err = o.f.Write(o.lines)
	}
	if err != nil {
		return fmt.Errorf("append lines: %w", err)
	}
	if cap(o.lines) > 4*flushSize { // one huge message must not stay for ever
		o.lines = nil
	}
	o.lines = o.lines[:0]
	return nil
}

func (o *openFile) sync() error {
	if !o.dirty {
		return nil
	}
	if err := o.flush(); err != nil {
		return err
	}
	if o.gzip != nil {
		if err := o.gzip.endMember(); err != nil {
			return fmt.Errorf("append lines: %w", err)
		}
	}
	if err := o.f.Sync(); err != nil {
		return fmt.Errorf("make lines safe: %w", err)
	}
	o.dirty = false
	return nil
}

// close ends a file that was synced.
func (o *openFile) close() error {
	if o.gzip != nil && o.gzip.members == 0 {
		// No bytes at all would not be a gzip file; an empty member is.
		err := o.gzip.endMember()
		if err == nil {
			err = o.f.Sync()
		}
		if err != nil {
			return fmt.Errorf("append lines: %w", err)
		}
	}
	if err := o.f.Close(); err != nil {
		return fmt.Errorf("end a file: %w", err)
	}
	return nil
}

// mendTail ends the last line of a file that is continued. A process that was
// killed in a write can leave half a line; it was never FINished, so it comes
// again whole, and must not be glued to its own beginning.
func (o *openFile) mendTail(size int64) error {
	if size == 0 || o.gzip != nil {
		return nil
	}
	var last [1]byte
	if _, err := o.f.ReadAt(last[:], size-1); err != nil {
		return fmt.Errorf("read the end of a file: %w", err)
	}
	if last[0] != '\n' {
		o.lines = append(o.lines, '\n')
		o.state.bytes++
		o.dirty = true
	}
	return nil
}

// gzipLines compresses lines into members: each can be read alone, and all of
// them after one another are a gzip file.
type gzipLines struct {
	out     *bufio.Writer // the compressor writes a few hundred bytes at a time
	member  *gzip.Writer
	open    bool // member has a beginning and no end
	members int  // ended in this file
}

func newGzipLines(level int) *gzipLines {
	g := &gzipLines{out: bufio.NewWriterSize(nil, flushSize/4)}
	g.member, _ = gzip.NewWriterLevel(g.out, level) // fails for wrong levels only
	return g
}

func (g *gzipLines) begin(f File) {
	g.out.Reset(f)
	g.open, g.members = false, 0
}

func (g *gzipLines) write(lines []byte) error {
	if !g.open {
		g.member.Reset(g.out)
		g.open = true
	}
	_, err := g.member.Write(lines)
	return err
}

func (g *gzipLines) endMember() error {
	if !g.open {
		g.member.Reset(g.out)
	}
	if err := g.member.Close(); err != nil {
		return err
	}
	g.open = false
	g.members++
	return g.out.Flush()
}
