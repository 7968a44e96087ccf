package spill

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace-mq/millrace/protocol"
)

// This file is what happens to disk queues after a crash. go-diskqueue writes
// its positions and its count down at every sync; what was written since then
// is in the data file, but unknown, and what was read since then would come
// again. So the data files are read once, and the positions and the count
// written anew from what is there. Nothing else changes, so that a crash
// meanwhile does no harm.
//
// A data file is record after record, each behind its length (int32,
// big-endian). The file beside it holds, in decimal, the count, then the
// number of the data file and the place in it of the next read, and of the
// next write: "count\nfile,place\nfile,place\n".

// Recovered is what a crash left in a queue.
type Recovered struct {
	Records  int // those that are damaged included
	Messages int
	Damaged  int    // records
	First    uint64 // ID of the first message; math.MaxUint64 if there is none
}

// RecoverBlocks makes the queue called name whole after a crash; it must not
// be open. Messages come once and in order: records are left out that do not
// go on behind those before them, since a stop had put a copy there, or that
// do not begin below an ID, since another queue has them too.
func RecoverBlocks(cfg Config, name string, below uint64) (Recovered, error) {
	next := uint64(0)
	c := recovery{cfg: cfg, name: name, keep: func(payload []byte, count int) (first uint64, keep bool) {
		if len(payload) < protocol.MessageOverhead {
			return 0, false
		}
		first, ok := protocol.ParseID(payload[protocol.IDOffset:protocol.BodyOffset])
		if !ok || first < next || first >= below {
			return first, false
		}
		// #nosec G115 -- go-diskqueue writes signed lengths; what is read is checked
		next = first + uint64(count)
		return first, true
	}}
	return c.run()
}

// RecoverSaved is RecoverBlocks for a queue of parked messages, which are in
// no order.
func RecoverSaved(cfg Config, name string) (Recovered, error) {
	c := recovery{cfg: cfg, name: name, keep: func([]byte, int) (uint64, bool) { return 0, true }}
	return c.run()
}

// recovery is the recovery of one queue.
type recovery struct {
	cfg  Config
	name string
	// keep says whether a record is to be kept, and the ID that it begins with.
	keep func(payload []byte, count int) (first uint64, ok bool)
	Recovered
}

// part is some consecutive records of a data file.
type part struct {
	file    int
	from    int64
	to      int64
	records int
	skipped int  // records behind them that are damaged or not to be kept
	broken  bool // something that is no whole record lies behind all that
}

func (c *recovery) run() (Recovered, error) {
	c.First = math.MaxUint64
	numbers, err := generations(c.cfg.Dir, c.name)
	for _, n := range numbers {
		if err == nil {
			err = c.generation(fmt.Sprintf("%s~%09d", c.name, n))
		}
	}
	if err != nil {
		return c.Recovered, fmt.Errorf("recovering disk queue %s: %w", c.name, err)
	}
	return c.Recovered, nil
}

// generation recovers the files of one go-diskqueue queue.
func (c *recovery) generation(base string) error {
	files, err := c.dataFiles(base)
	if err != nil {
		return err
	}
	file, place := c.readPosition(base)
	var parts []part
	for _, n := range files {
		p := part{file: n}
		if n >= file {
			if n == file {
				p.from = place
			}
			if err := c.scan(c.dataFile(base, n), &p); err != nil {
				return err
			}
		}
		if p.records > 0 {
			parts = append(parts, p)
		} else if err := c.dispose(c.dataFile(base, n), p); err != nil {
			return err
		}
	}
	return c.note(base, parts)
}

// scan finds the records of a data file from p.from on that are to be kept.
func (c *recovery) scan(path string, p *part) error {
	// #nosec G304 -- on the data path; names of topics and channels have no slash
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if p.from > info.Size() {
		p.from = 0 // what says where reading had got is wrong
	}
	if _, err := f.Seek(p.from, io.SeekStart); err != nil {
		return err
	}
	in := bufio.NewReaderSize(f, 1<<20)
	for at := p.from; ; {
		record, err := nextRecord(in, info.Size()-at)
		if record == nil {
			p.broken = err == nil && at < info.Size()
			return err
		}
		c.consider(p, record, at)
		at += 4 + int64(len(record))
	}
}

// dispose does away with a data file in which nothing is to be kept. One that
// could not be read to its end is set aside under go-diskqueue's name for such
// files; one of which some records are kept, go-diskqueue sets aside itself
// when it gets there.
func (c *recovery) dispose(path string, p part) error {
	if p.broken {
		return os.Rename(path, path+".bad")
	}
	return os.Remove(path)
}

// consider adds the record that lies at a place to the part, if it is to be
// kept. What was skipped before it then belongs to the part all the same.
func (c *recovery) consider(p *part, record []byte, at int64) {
	payload, count, err := parseRecord(record)
	if err != nil {
		c.Damaged++
	} else if first, ok := c.keep(payload, count); ok {
		if p.records == 0 {
			p.from, p.skipped = at, 0
		}
		p.to = at + 4 + int64(len(record))
		p.records += p.skipped + 1
		c.Records += p.skipped + 1
		c.Messages += count
		c.First = min(c.First, first)
		p.skipped = 0
		return
	}
	p.skipped++
}

// nextRecord reads a record of a data file of which rest bytes are left. It
// is nil when there is no whole one.
func nextRecord(in *bufio.Reader, rest int64) ([]byte, error) {
	if rest < 4 {
		return nil, nil
	}
	var size [4]byte
	if _, err := io.ReadFull(in, size[:]); err != nil {
		return nil, err
	}
	// #nosec G115 -- go-diskqueue writes signed lengths; what is read is checked
	n := int64(int32(binary.BigEndian.Uint32(size[:])))
	if n < recordHeaderSize || n > rest-4 {
		return nil, nil
	}
	record := make([]byte, n)
	if _, err := io.ReadFull(in, record); err != nil {
		return nil, err
	}
	return record, nil
}

// note writes down the positions and the count.
func (c *recovery) note(base string, parts []part) error {
	path := filepath.Join(c.cfg.Dir, base+metaSuffix)
	old, err := filepath.Glob(path + ".*.tmp")
	if err != nil {
		return err
	}
	for _, tmp := range old {
		if err := os.Remove(tmp); err != nil {
			return err
		}
	}
	if len(parts) == 0 {
		if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	count := 0
	for _, p := range parts {
		count += p.records
	}
	first, last := parts[0], parts[len(parts)-1]
	text := fmt.Sprintf("%d\n%d,%d\n%d,%d\n", count, first.file, first.from, last.file, last.to)
	if err := os.WriteFile(path+".0.tmp", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".0.tmp", path)
}

func (c *recovery) dataFile(base string, n int) string {
	return filepath.Join(c.cfg.Dir, fmt.Sprintf("%s%s%06d%s", base, dataInfix, n, dataSuffix))
}

// dataFiles returns the numbers of a go-diskqueue queue's data files.
func (c *recovery) dataFiles(base string) (numbers []int, err error) {
	entries, err := os.ReadDir(c.cfg.Dir)
	for _, e := range entries {
		if rest, ok := strings.CutPrefix(e.Name(), base+dataInfix); ok {
			if n, err := strconv.Atoi(strings.TrimSuffix(rest, dataSuffix)); err == nil {
				numbers = append(numbers, n)
			}
		}
	}
	slices.Sort(numbers)
	return numbers, err
}

// readPosition is where reading had got at the last sync.
func (c *recovery) readPosition(base string) (file int, place int64) {
	// #nosec G304 -- on the data path; names of topics and channels have no slash
	text, err := os.ReadFile(filepath.Join(c.cfg.Dir, base+metaSuffix))
	if err != nil {
		return 0, 0 // there was none
	}
	var count int
	if _, err := fmt.Sscanf(string(text), "%d\n%d,%d\n", &count, &file, &place); err != nil {
		return 0, 0
	}
	return file, place
}
