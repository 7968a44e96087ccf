package archive_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/apps/internal/record"
	"github.com/millrace-mq/millrace/apps/to_file/archive"
	"github.com/millrace-mq/millrace/apps/to_file/archive/archivetest"
)

// layouts are the ways of writing files that a crash goes through differently.
var layouts = map[string]struct {
	change func(*archive.Config)
	disk   func(*archivetest.Disk)
}{
	"in place":      {},
	"age limit":     {change: func(c *archive.Config) { c.RotateInterval = 20 * time.Minute }},
	"moved":         {change: func(c *archive.Config) { c.WorkDir = "/work" }},
	"moved, copied": {change: func(c *archive.Config) { c.WorkDir = "/work" }, disk: func(d *archivetest.Disk) { d.OtherDevice = "/work" }},
	"moved, renamed": {
		change: func(c *archive.Config) { c.WorkDir = "/work" }, disk: func(d *archivetest.Disk) { d.NoLinks = true },
	},
	"described":        {change: func(c *archive.Config) { c.Sidecar = true }},
	"described, moved": {change: func(c *archive.Config) { c.Sidecar, c.WorkDir = true, "/work" }},
	"described, copied": {
		change: func(c *archive.Config) { c.Sidecar, c.WorkDir = true, "/work" },
		disk:   func(d *archivetest.Disk) { d.OtherDevice = "/work" },
	},
	"described, renamed": {
		change: func(c *archive.Config) { c.Sidecar, c.WorkDir = true, "/work" },
		disk:   func(d *archivetest.Disk) { d.NoLinks = true },
	},
}

// killAt makes a disk's n-th operation fail half-way, and all later ones do
// nothing: so it looks when the process is killed, or the power cut, in it. The
// result tells whether it came to that.
func killAt(d *archivetest.Disk, n int) (met func() bool) {
	d.Fail = func(string, string) error {
		switch n--; {
		case n == -1:
			return syscall.EIO
		case n < -1:
			return archivetest.ErrKilled
		}
		return nil
	}
	return func() bool { return n < 0 }
}

// Wherever a process is killed, or the power cut, and once more in the start
// after that: the next start leaves nothing but whole files where they belong,
// with everything in them that was vouched for.
func TestEveryCrash(t *testing.T) {
	for name, layout := range layouts {
		for _, f := range []record.Format{record.Raw, record.JSON, record.Length} {
			for _, c := range []archive.Compression{archive.None, archive.Gzip, archive.Zstd} {
				if name != "in place" && (f != record.Raw || c == archive.Zstd) {
					continue // what differs between formats does not differ between layouts
				}
				change := func(cfg *archive.Config) {
					if layout.change != nil {
						layout.change(cfg)
					}
					cfg.Format, cfg.Compression, cfg.Level = f, c, 1
				}
				t.Run(fmt.Sprintf("%s, %s, %s", name, f, c), func(t *testing.T) {
					t.Parallel()
					for n := 0; ; n++ {
						disk := archivetest.NewDisk()
						if layout.disk != nil {
							layout.disk(disk)
						}
						met := killAt(disk, n)
						a, err := archive.New(config(t, disk, change))
						must(t, err)
						safe, _ := writeSome(a)
						for how, next := range map[string]*archivetest.Disk{"killed": disk.Killed(), "power cut": disk.PowerCut()} {
							crashAgain(t, next, change, n)
							if next = next.PowerCut(); n%2 == 0 {
								next = next.Killed()
							}
							checkRecovered(t, next, change, f, safe)
							if t.Failed() {
								t.Fatalf("%s in operation %d", how, n)
							}
						}
						if !met() {
							if len(safe) != someLines {
								t.Fatalf("without a crash %d lines are safe", len(safe))
							}
							return
						}
					}
				})
			}
		}
	}
}

// crashAgain starts an archive on a disk and crashes it in that, sooner or later.
func crashAgain(t *testing.T, disk *archivetest.Disk, change func(*archive.Config), seed int) {
	t.Helper()
	killAt(disk, seed*7%40)
	a, err := archive.New(config(t, disk, change))
	must(t, err)
	_ = a.Prepare()
	disk.Fail = nil
}

// checkRecovered starts on what a crash has left, some hours later.
func checkRecovered(t *testing.T, disk *archivetest.Disk, change func(*archive.Config), f record.Format, safe []string) {
	t.Helper()
	a := open(t, disk, change)
	closed(t, a, disk)
	if hidden := disk.Hidden(); len(hidden) > 0 {
		t.Errorf("hidden files are left: %q", hidden)
	}
	files := disk.AfterCrash()
	var kept []string
	for path, content := range files {
		if strings.HasSuffix(path, ".json") {
			continue
		}
		if !strings.HasPrefix(path, "/out/") {
			t.Errorf("%s is left in the work directory", path)
		}
		text, err := unpack(path, content)
		if err != nil {
			t.Errorf("%s cannot be unpacked: %v", path, err)
			continue
		}
		bodies, err := parse(f, text)
		if err != nil {
			t.Errorf("%s is not whole: %v: %q", path, err, text)
		}
		for _, b := range bodies {
			if !strings.HasPrefix(b, "line ") || strings.Count(b, "line") > 1 {
				t.Errorf("%s holds %q, which nobody has written", path, b)
			}
		}
		kept = append(kept, bodies...)
		checkSidecar(t, files, path, len(bodies))
	}
	for _, line := range safe {
		if !slices.Contains(kept, line) {
			t.Errorf("%q was vouched for and is lost", line)
		}
	}
}

// checkSidecar checks the sidecar of the file at path, if these files have some.
func checkSidecar(t *testing.T, files map[string]string, path string, lines int) {
	t.Helper()
	described := false
	for other := range files {
		described = described || strings.HasSuffix(other, ".json")
	}
	if !described {
		return
	}
	var s archive.Sidecar
	if err := json.Unmarshal([]byte(files[path+".json"]), &s); err != nil {
		t.Errorf("the sidecar of %s: %v", path, err)
	}
	sum := sha256.Sum256([]byte(files[path]))
	if s.Name != filepath.Base(path) || int(s.Lines) != lines || s.SHA256 != hex.EncodeToString(sum[:]) ||
		int(s.CompressedBytes) != len(files[path]) {
		t.Errorf("the sidecar of %s is %+v", path, s)
	}
}

// parse returns the bodies in what was unpacked, or why it is not whole.
func parse(f record.Format, text string) (bodies []string, err error) {
	if f == record.Length {
		for len(text) > 0 {
			if len(text) < 4 {
				return bodies, errors.New("half a length")
			}
			n := int(binary.BigEndian.Uint32([]byte(text)))
			if len(text) < 4+n {
				return bodies, errors.New("half a body")
			}
			bodies = append(bodies, text[4:4+n])
			text = text[4+n:]
		}
		return bodies, nil
	}
	if text == "" {
		return nil, nil
	}
	lines := strings.Split(text, "\n")
	if lines[len(lines)-1] != "" {
		return nil, errors.New("half a line")
	}
	lines = lines[:len(lines)-1]
	if f == record.Raw {
		return lines, nil
	}
	for _, line := range lines {
		var m struct{ Body string }
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			return nil, err
		}
		bodies = append(bodies, m.Body)
	}
	return bodies, nil
}
