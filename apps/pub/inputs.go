package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// inputs are the streams that are read, one after the other.
type inputs struct {
	names []string // "-" is standard input
	std   io.Reader
	noun  string       // what a record is called
	size  int64        // bytes of all of them; 0 if that is not known
	read  atomic.Int64 // of these

	mu    sync.Mutex // guards below
	began []int64    // the records before each stream
}

const stdin = "-"

// newInputs finds out what is there to be read; the error tells all that cannot be.
func newInputs(names []string, std io.Reader, noun string) (*inputs, error) {
	in := &inputs{names: names, std: std, noun: noun}
	if len(names) == 0 {
		in.names = []string{stdin}
	}
	var errs []error
	known := true
	for _, name := range in.names {
		size, ok, err := sizeOf(name, std)
		if err != nil {
			errs = append(errs, err)
		}
		known = known && ok
		in.size += size
	}
	if !known {
		in.size = 0
	}
	return in, errors.Join(errs...)
}

// sizeOf returns how many bytes are left to be read, if the stream has an end that
// is known.
func sizeOf(name string, std io.Reader) (size int64, known bool, err error) {
	if name == stdin {
		f, ok := std.(*os.File)
		if !ok {
			return 0, false, nil
		}
		info, err := f.Stat()
		if err != nil || !info.Mode().IsRegular() {
			return 0, false, nil // reading it tells what is wrong
		}
		at, err := f.Seek(0, io.SeekCurrent)
		return info.Size() - at, err == nil, nil
	}
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return 0, false, fmt.Errorf("file: %w", err)
	case info.IsDir():
		return 0, false, fmt.Errorf("file %s: is a directory; name the files in it", name)
	}
	return info.Size(), info.Mode().IsRegular(), nil
}

// include reports whether a file is one of those that are read.
func (in *inputs) include(file os.FileInfo) bool {
	for _, name := range in.names {
		info, err := os.Stat(name)
		if std, ok := in.std.(*os.File); name == stdin && ok {
			info, err = std.Stat()
		}
		if err == nil && os.SameFile(info, file) {
			return true
		}
	}
	return false
}

// title is what a stream is called in errors.
func title(name string) string {
	if name == stdin {
		return "standard input"
	}
	return name
}

// open opens the next stream, which begins after some records of others. Reading it
// ends with errInterrupted as soon as ctx has ended.
func (in *inputs) open(ctx context.Context, i int, after int64) (stream io.Reader, done func(), err error) {
	in.mu.Lock()
	in.began = append(in.began, after)
	in.mu.Unlock()
	raw, closeFile := in.std, func() {}
	name := in.names[i]
	if name != stdin {
		// #nosec G304 -- a file that who runs pub has named
		f, err := os.Open(name)
		if err != nil {
			return nil, nil, err
		}
		raw, closeFile = f, func() { _ = f.Close() } // it was only read
	}
	patient := newPatient(ctx, raw, &in.read, closeFile)
	stream, err = unpack(name, patient)
	if err != nil {
		patient.close()
		if errors.Is(err, errInterrupted) {
			return nil, nil, err
		}
		return nil, nil, fmt.Errorf("read %s: %w", title(name), err)
	}
	return stream, patient.close, nil
}

// unpack undoes the compression that a file's name tells of.
func unpack(name string, in io.Reader) (io.Reader, error) {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".gz":
		r, err := gzip.NewReader(in)
		if errors.Is(err, io.EOF) {
			return strings.NewReader(""), nil // an empty file is empty, compressed or not
		}
		return r, err
	case ".zst":
		d, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		return d, nil
	}
	return in, nil
}

// place names lines as users count them: in their file, if there are several.
func (in *inputs) place(p span) string {
	if p.from == p.to {
		return in.placeOf(p.from)
	}
	if len(in.names) == 1 {
		return fmt.Sprintf("%d-%d", p.from, p.to)
	}
	from, to := in.placeOf(p.from), in.placeOf(p.to)
	name, line, _ := cutLast(to)
	if before, _, _ := cutLast(from); before == name {
		return from + "-" + line
	}
	return from + " to " + to
}

func (in *inputs) placeOf(line int64) string {
	if len(in.names) == 1 {
		return fmt.Sprint(line)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	i := len(in.began) - 1
	for i > 0 && in.began[i] >= line {
		i--
	}
	return fmt.Sprintf("%s:%d", title(in.names[i]), line-in.began[i])
}

func cutLast(s string) (before, after string, found bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// where names one line, tell a set of them.
func (in *inputs) where(line int64) string    { return in.noun + " " + in.placeOf(line) }
func (in *inputs) tell(lines *lineSet) string { return lines.tell(in.noun, in.place) }

// errInterrupted is why a read ends that Ctrl-C ended.
var errInterrupted = errors.New("interrupted")

// patient reads a stream on a goroutine of its own, which is left behind if it sits
// in a read when ctx ends: nothing can wake a read of a terminal, and the program is
// about to end.
type patient struct {
	ctx   context.Context
	asked chan []byte
	got   chan outcomeOfRead // has room for one
}

type outcomeOfRead struct {
	n   int
	err error
}

func newPatient(ctx context.Context, in io.Reader, read *atomic.Int64, end func()) *patient {
	p := &patient{ctx: ctx, asked: make(chan []byte), got: make(chan outcomeOfRead, 1)}
	go func() {
		defer end()
		for b := range p.asked {
			n, err := in.Read(b)
			read.Add(int64(n))
			p.got <- outcomeOfRead{n, err}
		}
	}()
	return p
}

// Read implements io.Reader. What was read when ctx ended is still returned.
func (p *patient) Read(b []byte) (int, error) {
	if p.ctx.Err() != nil {
		return 0, errInterrupted
	}
	p.asked <- b
	select {
	case r := <-p.got:
		return r.n, r.err
	case <-p.ctx.Done():
	}
	select {
	case r := <-p.got:
		return r.n, r.err
	default:
		return 0, errInterrupted
	}
}

// close lets the goroutine go once it does not read.
func (p *patient) close() { close(p.asked) }
