package takeover

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// What nsqd has in its data directory:
//
//	nsqd.dat                 topics and channels
//	nsqd.ID.dat              the same before 1.0: a file, or a link to nsqd.dat
//	Q.diskqueue.NNNNNN.dat   messages, read and written in the order of numbers
//	Q.diskqueue.meta.dat     how far reading and writing had got
//	*.dat.bad                what go-diskqueue could not read
//	*.dat.NNN.tmp            a file that was never finished
//
// Q is the topic's name for its own queue and topic:channel for a channel's.
// A name may contain ".diskqueue." itself: the last one counts.
var (
	metadataNames = regexp.MustCompile(`^nsqd(\.\d+)?\.dat$`)
	metadataTemps = regexp.MustCompile(`^nsqd(\.\d+)?\.dat\.\d+\.tmp$`)
	queueNames    = regexp.MustCompile(`^(.+)\.diskqueue\.(?:(\d{6,})\.dat(\.bad)?|meta\.dat(\.\d+\.tmp)?)$`)
)

const metadataFile = "nsqd.dat"

// queue is the files of a disk queue.
type queue struct {
	data []dataFile // by number
	meta string     // file name; "" if there is none
}

type dataFile struct {
	number int64
	name   string
}

// listing is all of nsqd's files in a directory, by name.
type listing struct {
	metadata []string // nsqd.dat first
	rest     []string // all others
	queues   map[string]queue
	order    []string // names of queues, sorted
	bad      []string
}

func queueName(topic, channel string) string {
	if channel == "" {
		return topic
	}
	return topic + ":" + channel
}

func list(dir string) (listing, error) {
	l := listing{queues: make(map[string]queue)}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return l, fmt.Errorf("looking for what nsqd left: %w", err)
	}
	for _, e := range entries {
		switch name := e.Name(); {
		case e.IsDir():
		case metadataNames.MatchString(name):
			l.metadata = append(l.metadata, name)
		case metadataTemps.MatchString(name):
			l.rest = append(l.rest, name)
		default:
			l.addQueueFile(name)
		}
	}
	slices.SortStableFunc(l.metadata, func(a, b string) int {
		return cmp.Compare(rank(a), rank(b))
	})
	for name, q := range l.queues {
		l.order = append(l.order, name)
		slices.SortFunc(q.data, func(a, b dataFile) int { return cmp.Compare(a.number, b.number) })
	}
	slices.Sort(l.order)
	return l, nil
}

func rank(metadata string) int {
	if metadata == metadataFile {
		return 0
	}
	return 1
}

func (l *listing) addQueueFile(name string) {
	m := queueNames.FindStringSubmatch(name)
	if m == nil {
		return
	}
	l.rest = append(l.rest, name)
	q := l.queues[m[1]]
	switch {
	case m[3] != "":
		l.bad = append(l.bad, name)
		return
	case m[4] != "":
		return
	case m[2] == "":
		q.meta = name
	default:
		n, err := strconv.ParseInt(m[2], 10, 64)
		if err != nil {
			return // too large a number for go-diskqueue to have written
		}
		q.data = append(q.data, dataFile{number: n, name: name})
	}
	l.queues[m[1]] = q
}

// position is how far reading had got, as nsqd wrote it down.
type position struct {
	depth int64 // messages; -1 if nothing legible is written
	file  int64 // number of the file with the next message to read
	place int64 // where in it, in bytes
}

var unknown = position{depth: -1}

// readPosition returns what nsqd wrote down about a queue. What it wrote
// about the end of the queue says nothing that the files do not say better: a
// crash leaves messages behind it.
func readPosition(path string) (position, error) {
	// #nosec G304 -- on the data path; names of topics and channels have no slash
	text, err := os.ReadFile(path)
	if err != nil {
		return unknown, err
	}
	var p, end position
	n, err := fmt.Sscanf(string(text), "%d\n%d,%d\n%d,%d\n", &p.depth, &p.file, &p.place, &end.file, &end.place)
	if err != nil {
		return unknown, fmt.Errorf("%d of its 5 numbers: %w", n, errIllegible)
	}
	if p.file < 0 || p.place < 0 || end.file < p.file || end.file == p.file && end.place < p.place {
		return unknown, fmt.Errorf("reading is ahead of writing: %w", errIllegible)
	}
	return p, nil
}

// errIllegible means that the file could be read but not understood.
var errIllegible = errors.New("illegible")

// A scratch folder's name ends as no file of nsqd's does.
const (
	scratchPrefix = "nsqd-takeover-"
	scratchSuffix = ".scratch"
)

func removeScratch(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("looking for what nsqd left: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), scratchPrefix) && strings.HasSuffix(e.Name(), scratchSuffix) {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return fmt.Errorf("removing what an interrupted takeover left: %w", err)
			}
		}
	}
	return nil
}

// exists reports whether anything has the name, a dangling link included.
func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
