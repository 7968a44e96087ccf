package broker

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/qd/disk/disktest"
)

// stored is what a broker has left that was stopped: 40 messages in the topic
// "orders", a record each, in a handful of segments; of the channel "ship" the
// first five are finished, and the sixth is requeued for an hour.
func stored(t *testing.T, path string) (disk *disktest.Disk, at time.Time) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, path, Disk)
		must(t, w.open())
		must(t, w.create("orders"))
		must(t, w.createChannel("orders", "ship"))
		for range 40 {
			must(t, w.publish("orders", 1, 300))
		}
		must(t, w.consume("orders", "ship", 5, 0, 0, 0))
		must(t, w.consume("orders", "ship", 1, 1, time.Hour, 0))
		must(t, w.stop())
		disk, at = w.disk, time.Now()
	})
	return disk, at
}

// reopened starts a broker on a disk that somebody has damaged.
func reopened(t *testing.T, path string, disk *disktest.Disk, at time.Time, f func(r *running, orders *Topic)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		fresh := newWorld(t, path, Disk)
		time.Sleep(time.Until(at))
		r, err := launch(t, path, disk, fresh.settings)
		must(t, err)
		defer func() { must(t, r.stop()) }()
		orders, err := r.Find("orders")
		must(t, err)
		f(r, orders)
		r.audit()
	})
}

// filesIn are those of the topic in a folder of its, in order.
func filesIn(disk *disktest.Disk, folder string) (paths []string) {
	for _, p := range disk.Paths() {
		if strings.Contains(p, "/topics/orders.1/"+folder) {
			paths = append(paths, p)
		}
	}
	return paths
}

// reseal makes the CRC at the end of a header right again.
func reseal(header []byte) {
	n := len(header) - 4
	binary.LittleEndian.PutUint32(header[n:], crc32.Checksum(header[:n], crc32.MakeTable(crc32.Castagnoli)))
}

const (
	segmentHeader = 40
	recordHeader  = 88
)

// firstOf is the number of a segment's first message.
func firstOf(path string) (n int) {
	_, _ = fmt.Sscanf(strings.SplitN(filepath.Base(path), "-", 2)[1], "%x", &n)
	return n
}

// TestDamagedFiles damages one file after the other: what is whole is delivered, what
// is not is said.
func TestDamagedFiles(t *testing.T) {
	all := func(from, to int) (n []int) {
		for ; from < to; from++ {
			n = append(n, from)
		}
		return n
	}
	for _, c := range []struct {
		name string
		// damage returns which messages may be missing, and which that were
		// finished may come again.
		damage func(d *disktest.Disk, log []string) (missing, again []int)
		said   string
		counts bool // among the log's figures
	}{
		{"a byte of a message", func(d *disktest.Disk, log []string) (missing, again []int) {
			d.Flip(log[2], segmentHeader+recordHeader+100, 1)
			return []int{firstOf(log[2])}, nil
		}, "damaged or missing", true},
		{"a record's header", func(d *disktest.Disk, log []string) (missing, again []int) {
			d.Flip(log[2], segmentHeader+20, 0x10)
			return []int{firstOf(log[2])}, nil
		}, "damaged or missing", true},
		{"a segment's header", func(d *disktest.Disk, log []string) (missing, again []int) {
			d.Flip(log[2], 20, 0x10)
			return nil, nil
		}, "segment header damaged", true},
		{"a segment is missing", func(d *disktest.Disk, log []string) (missing, again []int) {
			_ = d.Remove(log[2])
			return all(firstOf(log[2]), firstOf(log[3])), nil
		}, "missing", true},
		{"a segment is empty", func(d *disktest.Disk, log []string) (missing, again []int) {
			d.SetBytes(log[2], nil)
			return all(firstOf(log[2]), firstOf(log[3])), nil
		}, "not a segment", true},
		{"the last segment is cut short", func(d *disktest.Disk, log []string) (missing, again []int) {
			last := log[len(log)-1]
			d.SetBytes(last, d.Bytes(last)[:len(d.Bytes(last))-1])
			return []int{39}, nil
		}, "torn end", true},
		{"acks cut short", func(d *disktest.Disk, _ []string) (missing, again []int) {
			acks := filesIn(d, "acks")[0]
			d.SetBytes(acks, d.Bytes(acks)[:len(d.Bytes(acks))-1])
			return nil, all(0, 6)
		}, "", false},
		{"acks empty", func(d *disktest.Disk, _ []string) (missing, again []int) {
			d.SetBytes(filesIn(d, "acks")[0], nil)
			return nil, all(0, 6)
		}, "", false},
		{"acks missing", func(d *disktest.Disk, _ []string) (missing, again []int) {
			_ = d.Remove(filesIn(d, "acks")[0])
			return nil, all(0, 6)
		}, "", false},
		{"acks damaged", func(d *disktest.Disk, _ []string) (missing, again []int) {
			d.Flip(filesIn(d, "acks")[0], 30, 1)
			return nil, all(0, 6)
		}, "what a channel had done is damaged", false},
		{"topic.json empty", func(d *disktest.Disk, _ []string) (missing, again []int) {
			d.SetBytes(filesIn(d, "topic.json")[0], nil)
			return nil, nil
		}, "topic's file is damaged", false},
		{"topic.json missing", func(d *disktest.Disk, _ []string) (missing, again []int) {
			_ = d.Remove(filesIn(d, "topic.json")[0])
			return nil, nil
		}, "topic's file is missing", false},
		{"topic.json garbage", func(d *disktest.Disk, _ []string) (missing, again []int) {
			d.SetBytes(filesIn(d, "topic.json")[0], []byte("{\"version\": 1, \"na"))
			return nil, nil
		}, "topic's file is damaged", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := t.TempDir()
			disk, at := stored(t, path)
			missing, again := c.damage(disk, filesIn(disk, "log"))
			reopened(t, path, disk, at, func(r *running, orders *Topic) {
				k := subscribe(t, orders, "ship", 1000)
				k.t = t
				var come []int
				for _, g := range k.drain(k.finish) {
					come = append(come, g.number)
				}
				time.Sleep(2 * time.Hour)
				for _, g := range k.drain(k.finish) {
					come = append(come, g.number)
				}
				k.close()
				slices.Sort(come)
				if len(slices.Compact(slices.Clone(come))) != len(come) {
					t.Errorf("some come twice: %v", come)
				}
				for n := range 40 {
					there := slices.Contains(come, n)
					if want := n >= 5 && !slices.Contains(missing, n); there != want && !(there && slices.Contains(again, n)) {
						t.Errorf("message %d: comes %t; all: %v", n, there, come)
					}
				}
				if !r.log.contains(c.said) {
					t.Errorf("%q is not said, but\n%s", c.said, r.log.text.String())
				}
				if s := orders.logs.main.Stats(); (s.Damaged > 0) != c.counts || c.counts && len(missing) > 0 && s.Lost > uint64(len(missing)) {
					t.Errorf("figures %+v", s)
				}
			})
		})
	}
}

// TestLaterVersion: what a later version has written is refused by name and
// left as it is.
func TestLaterVersion(t *testing.T) {
	for name, change := range map[string]func(d *disktest.Disk) (path, version string){
		"segment": func(d *disktest.Disk) (path, version string) {
			path = filesIn(d, "log")[1]
			b := d.Bytes(path)
			b[4] = 7
			reseal(b[:segmentHeader])
			d.SetBytes(path, b)
			return path, "7"
		},
		"acks": func(d *disktest.Disk) (path, version string) {
			path = filesIn(d, "acks")[0]
			b := d.Bytes(path)
			b[4] = 7
			binary.LittleEndian.PutUint32(b[16:], crc32.Update(crc32.Checksum(b[:16], crc32.MakeTable(crc32.Castagnoli)), crc32.MakeTable(crc32.Castagnoli), b[20:20+binary.LittleEndian.Uint32(b[8:])]))
			d.SetBytes(path, b)
			return path, "7"
		},
		"topic.json": func(d *disktest.Disk) (path, version string) {
			path = filesIn(d, "topic.json")[0]
			d.SetBytes(path, []byte(strings.Replace(string(d.Bytes(path)), `"version": 1`, `"version": 7`, 1)))
			return path, "7"
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir()
			d, _ := stored(t, path)
			file, version := change(d)
			before, operations := everything(d), d.Operations()
			_, err := launch(t, path, d, func(*Settings) {})
			if err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), version) {
				t.Errorf("error %v", err)
			}
			if after := everything(d); after != before || d.Operations() != operations {
				t.Errorf("something was changed: %d operations", d.Operations()-operations)
			}
			if n := d.Handles(); n > 0 {
				t.Errorf("%d files are open", n)
			}
		})
	}
}

func everything(d *disktest.Disk) string {
	var b strings.Builder
	for _, p := range d.Paths() {
		fmt.Fprintf(&b, "%s %x\n", p, d.Bytes(p))
	}
	return b.String()
}

// TestCopied: a copy of the folder, made file by file while the broker runs and
// without what is empty, can be started from, and goes on durably.
func TestCopied(t *testing.T) {
	path := t.TempDir()
	copied := disktest.New()
	var images []image
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, path, Fsync)
		must(t, w.open())
		must(t, w.create("orders"))
		must(t, w.createChannel("orders", "ship"))
		for range 12 {
			must(t, w.publish("orders", 1, 300))
		}
		must(t, w.later("orders", time.Hour, 300))
		was := w.clone()
		for _, p := range w.disk.Paths() {
			copied.SetBytes(p, w.disk.Bytes(p))
			must(t, w.publish("orders", 2, 300))
			w.sleep(time.Second)
		}
		now := w.clone()
		for i := range now.sent { // what came since may be in the copy, or not
			now.sent[i].acked = i < len(was.sent)
		}
		must(t, w.stop())
		i := image{ledger: now, disk: copied.Kill(), what: "copy", when: time.Now().UnixNano()}
		images = append(images, i)

		// The copy has no folder for acks: what is done now must last all the same.
		w.ledger, w.disk = now.clone(), copied
		must(t, w.open())
		must(t, w.consume("orders", "ship", 5, 0, 0, 0))
		must(t, w.settle())
		images = append(images, w.crashes("copy in use", 1, 3)...)
		must(t, w.stop())
	})
	for _, i := range images {
		i.audit(t, path, Fsync)
	}
}
