// Package yardstick measures the disk as plainly as dd does, so that what a
// broker writes can be compared with what its disk takes.
package yardstick

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Disk is what a disk does.
type Disk struct {
	Write  float64       // bytes a second into the operating system's hands, 256 KiB at a time
	Device float64       // the same, until all of it is on the device
	Sync   time.Duration // to append 4 KiB and sync them, the median
	Read   float64       // bytes a second of what was just written, one after the other
}

const piece = 256 << 10

// Measure writes a file of so many bytes in dir, reads it, and syncs small
// appends to another. Both files are removed.
func Measure(ctx context.Context, dir string, bytes int64, syncs int) (d Disk, err error) {
	path := filepath.Join(dir, "bench-disk")
	// #nosec G304 -- a file that who runs the bench has named
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(path)) }()
	buffer := make([]byte, piece)
	for i := range buffer {
		buffer[i] = byte(i * 7)
	}
	start := time.Now()
	for n := int64(0); n < bytes; n += piece {
		if err := ctx.Err(); err != nil {
			return d, err
		}
		if _, err := f.Write(buffer); err != nil {
			return d, err
		}
	}
	d.Write = float64(bytes) / time.Since(start).Seconds()
	if err := f.Sync(); err != nil {
		return d, err
	}
	d.Device = float64(bytes) / time.Since(start).Seconds()
	start = time.Now()
	for n := int64(0); n < bytes; n += piece {
		if _, err := f.ReadAt(buffer, n); err != nil {
			return d, err
		}
	}
	d.Read = float64(bytes) / time.Since(start).Seconds()
	times := make([]time.Duration, syncs)
	for i := range times {
		start := time.Now()
		if _, err := f.Write(buffer[:4<<10]); err != nil {
			return d, err
		}
		if err := f.Sync(); err != nil {
			return d, err
		}
		times[i] = time.Since(start)
	}
	slices.Sort(times)
	d.Sync = times[len(times)/2]
	return d, nil
}

// String is the figures in one line.
func (d Disk) String() string {
	return fmt.Sprintf("write %.0f MB/s, to the device %.0f MB/s, read again %.0f MB/s, append and sync 4 KiB %.2f ms",
		d.Write/1e6, d.Device/1e6, d.Read/1e6, d.Sync.Seconds()*1e3)
}
