package archive_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/apps/internal/record"
	"github.com/millrace-mq/millrace/apps/to_file/archive"
	"github.com/millrace-mq/millrace/apps/to_file/archive/archivetest"
)

// keeper does with an archive what to_file does: what a full disk has thrown
// back comes again.
type keeper struct {
	t       *testing.T
	a       *archive.Archive
	pending []string // appended, and not known to be safe
	full    int      // how often the disk was full
}

// noSpace counts err, which must be nil or for lack of space, and reports which.
func (k *keeper) noSpace(err error) bool {
	k.t.Helper()
	if err == nil {
		return false
	}
	if k.full++; !errors.Is(err, archive.ErrNoSpace) || k.full > 1000 {
		k.t.Fatalf("it does not go on when there is space again: %v", err)
	}
	return true
}

func (k *keeper) append(now time.Time, line string) {
	k.t.Helper()
	k.pending = append(k.pending, line)
	if k.noSpace(k.a.Append(now, rec(line))) {
		k.again(now)
	}
}

// again appends all that is pending until there is space for it.
func (k *keeper) again(now time.Time) {
	k.t.Helper()
	for n := 0; n < len(k.pending); n++ {
		if k.noSpace(k.a.Append(now, rec(k.pending[n]))) {
			n = -1
		}
	}
}

// safely calls Sync or Close until what is pending is safe.
func (k *keeper) safely(now time.Time, f func() error) {
	k.t.Helper()
	for k.noSpace(f()) {
		k.again(now)
	}
	k.pending = nil
}

// Whatever a full disk refuses, and however often, nothing is lost and nothing
// is half written once there is space again.
func TestFullDisk(t *testing.T) {
	for name, layout := range layouts {
		for _, c := range []archive.Compression{archive.None, archive.Gzip, archive.Zstd} {
			change := func(cfg *archive.Config) {
				if layout.change != nil {
					layout.change(cfg)
				}
				cfg.Compression, cfg.Level = c, 1
			}
			t.Run(fmt.Sprintf("%s, %s", name, c), func(t *testing.T) {
				t.Parallel()
				for n, more := 0, true; more; n++ {
					disk := archivetest.NewDisk()
					if layout.disk != nil {
						layout.disk(disk)
					}
					left := n
					disk.Fail = func(op, _ string) error {
						switch op {
						case "stat", "size", "read", "list", "rmdir", "remove", "flock": // need no space
							return nil
						}
						if left--; left < 0 && left >= -1-n%4 {
							return []error{syscall.ENOSPC, syscall.EDQUOT}[n%2]
						}
						return nil
					}
					k := keepAll(t, disk, change)
					more = k.full > 0
					disk.Fail = nil
					checkRecovered(t, disk, change, record.Raw, allLines())
					if t.Failed() {
						t.Fatalf("full from operation %d on", n)
					}
				}
			})
		}
	}
}

func allLines() (all []string) {
	for i := range someLines {
		all = append(all, fmt.Sprintf("line %d", i))
	}
	return all
}

// keepAll writes what writeSome does, on a disk that may be full at times.
func keepAll(t *testing.T, disk *archivetest.Disk, change func(*archive.Config)) *keeper {
	t.Helper()
	a, err := archive.New(config(t, disk, change))
	must(t, err)
	k := &keeper{t: t, a: a}
	for k.noSpace(a.Prepare()) {
	}
	var now time.Time
	for i, line := range allLines() {
		now = noon.Add(time.Duration(i) * between)
		k.append(now, line)
		if i%4 == 3 {
			k.safely(now, a.Sync)
		}
	}
	k.safely(now, a.Close)
	if n := disk.OpenFiles(); n != 0 {
		t.Errorf("%d files are open", n)
	}
	return k
}

// What is thrown back is not in the file: it would come twice.
func TestFullDiskCutsOff(t *testing.T) {
	for _, c := range []archive.Compression{archive.None, archive.Gzip, archive.Zstd} {
		for _, op := range []string{"write", "sync"} {
			t.Run(fmt.Sprintf("%s, %s", c, op), func(t *testing.T) {
				disk := archivetest.NewDisk()
				full := false
				disk.Fail = func(what, path string) error {
					if full && what == op && strings.HasPrefix(path, "/out/t") {
						return syscall.ENOSPC
					}
					return nil
				}
				a := open(t, disk, func(cfg *archive.Config) { cfg.Compression, cfg.Level = c, 1 })
				must(t, a.Append(noon, rec("safe")))
				must(t, a.Sync())
				before := disk.Files()
				must(t, a.Append(noon, rec("lost")))
				full = true
				if err := a.Sync(); !errors.Is(err, archive.ErrNoSpace) || !errors.Is(err, syscall.ENOSPC) {
					t.Fatalf("Sync on a full disk: %v", err)
				}
				check(t, disk.Files(), before)
				must(t, a.Sync()) // has nothing to do
				full = false
				must(t, a.Append(noon, rec("again")))
				closed(t, a, disk)
				for path, content := range disk.AfterCrash() {
					if text, err := unpack(path, content); text != "safe\nagain\n" || err != nil {
						t.Errorf("%s holds %q, %v", path, text, err)
					}
				}
			})
		}
	}
}

// Two processes without <REV> write to one file. What one has made safe is not
// cut off because the other's disk quota is used up.
func TestFullDiskKeepsOthersLines(t *testing.T) {
	for _, gone := range []bool{false, true} {
		disk := archivetest.NewDisk()
		full := false
		disk.Fail = func(op, path string) error {
			if full && op == "write" && path == "/out/t.12" {
				full = false
				return syscall.EDQUOT
			}
			return nil
		}
		a, b := open(t, disk, nil), open(t, disk, nil)
		must(t, a.Append(noon, rec("a1")))
		must(t, a.Sync())
		must(t, b.Append(noon, rec("b1")))
		must(t, b.Sync())
		if gone {
			must(t, b.Close())
		}
		must(t, a.Append(noon, rec("a2")))
		full = true
		if err := a.Sync(); !errors.Is(err, archive.ErrNoSpace) {
			t.Fatalf("Sync: %v", err)
		}
		must(t, a.Append(noon, rec("a3")))
		closed2(t, a, b, disk)
		lines := strings.Split(disk.AfterCrash()["/out/t.12"], "\n")
		for _, want := range []string{"a1", "b1", "a3"} {
			if !slices.Contains(lines, want) {
				t.Errorf("%q is not among %q; the other is gone: %t", want, lines, gone)
			}
		}
	}
}

func closed2(t *testing.T, a, b *archive.Archive, disk *archivetest.Disk) {
	t.Helper()
	must(t, a.Close())
	closed(t, b, disk)
}
