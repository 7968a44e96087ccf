package disktest_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/qd/disk"
	"github.com/millrace-mq/millrace/qd/disk/disktest"
)

// world is a disk with short names for what tests do to it.
type world struct {
	*disktest.Disk
	t    *testing.T
	file disk.File // a test's only one
}

func newWorld(t *testing.T) *world { return &world{Disk: disktest.New(), t: t} }

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// durable makes a file with a content, all durable, and returns it open.
func (w *world) durable(path, content string) disk.File {
	w.t.Helper()
	w.SetBytes(path, []byte(content))
	return w.open(path)
}

func (w *world) open(path string) disk.File {
	w.t.Helper()
	f, err := w.Open(path)
	w.must(err)
	return f
}

func (w *world) create(path string) disk.File {
	w.t.Helper()
	f, err := w.Create(path)
	w.must(err)
	return f
}

// content is all files with what they hold, as "a=1 b/c=2".
func content(d *disktest.Disk) string {
	var all []string
	for _, p := range d.Paths() {
		all = append(all, fmt.Sprintf("%s=%s", strings.TrimPrefix(p, "/"), d.Bytes(p)))
	}
	return strings.Join(all, " ")
}

func seeded(seed int) *rand.Rand { return rand.New(rand.NewPCG(uint64(seed), 1)) }

// outcomes is every content that a crash in mode Some leaves in many tries.
func outcomes(d *disktest.Disk) map[string]bool {
	all := map[string]bool{}
	for seed := range 600 {
		all[content(d.Crash(disktest.Some, seeded(seed)))] = true
	}
	return all
}

func sectors(pattern string) []byte {
	var b []byte
	for i := range len(pattern) {
		b = append(b, bytes.Repeat([]byte{pattern[i]}, 512)...)
	}
	return b
}

// pattern is the first byte of each sector, zero as '0'.
func pattern(b []byte) string {
	var s []byte
	for i := 0; i < len(b); i += 512 {
		c := b[i]
		if c == 0 {
			c = '0'
		}
		s = append(s, c)
	}
	return string(s)
}
