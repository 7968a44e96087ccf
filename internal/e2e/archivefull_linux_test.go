package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// to_file on a disk that is full takes nothing more, does not end, and goes on when
// there is room: every line is in a file that is whole, and nothing was tried again and
// again.
func TestArchiveDiskFull(t *testing.T) {
	if err := tryMount(t.TempDir()); err != nil {
		if os.Getenv(inNamespace) != "" {
			t.Fatalf("%s: %v", noMount, err)
		}
		elsewhere(t)
		return
	}
	tests := map[string]archiving{
		"plain":                           {},
		"gzip":                            {flags: []string{"--gzip"}},
		"written apart":                   {apart: true, flags: []string{"--rotate-size=1000000"}},
		"zstd and JSON, with sidecars":    {flags: []string{"--zstd", "--format=json", "--sidecar", "--rotate-size=1000000"}},
		"length-prefixed, to be rotated":  {flags: []string{"--format=length-prefixed", "--rotate-size=1000000"}},
		"plain, killed while it was full": {kills: 1},
	}
	for name, a := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a.fillTheDisk(t)
		})
	}
}

func (a archiving) fillTheDisk(t *testing.T) {
	const size = 8 << 20
	room := 1 << 20
	if strings.Contains(strings.Join(a.flags, " "), "z") {
		room = 256 << 10 // compressed, that is as much
	}
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	filler := filepath.Join(disk, "filler")
	if err := os.WriteFile(filler, make([]byte, size-room), 0o600); err != nil {
		t.Fatal(err)
	}
	d := newDaemon(t)
	d.start(t)
	d.post(t, "/topic/create?topic=lines", "")
	d.post(t, "/channel/create?topic=lines&channel=to_file", "")
	out, work := filepath.Join(disk, "out"), filepath.Join(disk, "work")
	args := append([]string{"--topic=lines", "--qd-tcp-address=" + d.tcp, "--output-dir=" + out, "--filename-format=<TOPIC><REV>.log"}, a.flags...)
	if a.apart {
		args = append(args, "--work-dir="+work)
	}
	toFile := start(t, nil, "to_file", args...)
	var published atomic.Int64
	stop := inBackground(t, []func(context.Context){func(ctx context.Context) { a.publish(ctx, d, &published) }})
	said := func(what string) func() bool {
		return func() bool {
			if !toFile.running() {
				t.Fatalf("to_file ended with status %d", toFile.status())
			}
			return strings.Contains(toFile.stderr.String(), what)
		}
	}
	eventually(t, "the disk to be full", said("the disk is full"))
	for range a.kills {
		toFile.signal(syscall.SIGKILL)
		<-toFile.exited
		toFile = start(t, nil, "to_file", args...)
		eventually(t, "the disk to be full again", said("the disk is full"))
	}
	stop()
	eventually(t, "everything to be given back", func() bool {
		_, channels := d.stats("lines")
		c := channels["to_file"]
		return c.Depth > 0 && c.InFlight == 0
	})
	before := toFile.used()
	pause(t.Context(), 2*time.Second)
	if took := toFile.used() - before; took > time.Second/2 {
		t.Errorf("in two seconds on a full disk it took %v of CPU", took)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it to go on", said("the disk has room again"))
	eventually(t, "the channel to be drained", func() bool { return d.drained("lines", "to_file") })
	if n := strings.Count(toFile.stderr.String(), "the disk is full"); n > 3 {
		t.Errorf("it said %d times that the disk is full", n)
	}
	toFile.stop(syscall.SIGTERM)
	a.audit(t, out, work, int(published.Load()))
}

// used is how much CPU a running process has used.
func (p *process) used() time.Duration {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	var user, system int
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		p.t.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}
