package archive_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/apps/internal/record"
	"github.com/millrace-mq/millrace/apps/to_file/archive"
	"github.com/millrace-mq/millrace/apps/to_file/archive/archivetest"
	"github.com/millrace-mq/millrace/internal/e2e/testenv"
)

// pattern is that of the default settings for a topic and a host.
func pattern(t *testing.T, topic, host, suffix string) archive.Name {
	t.Helper()
	n, err := archive.Pattern{
		Format: "<TOPIC>.<HOST><REV>.<DATETIME>.log", Datetime: "%Y-%m-%d_%H", Topic: topic, Host: host, PID: 7,
		Suffix: suffix, Revision: true,
	}.Name()
	must(t, err)
	return n
}

// What lies in the work directory without a marker is of an older version, or
// of nsq_to_file: this pattern's files, and no others, are finished.
func TestStraysAreFinished(t *testing.T) {
	names := map[string]bool{
		"t.h-000000.2025-12-31_23.log":      true,
		"t.h-000012.2026-02-03_12.log":      true,
		"t2.h-000000.2026-02-03_12.log":     false, // another topic
		"t.x.h-000000.2026-02-03_12.log":    false,
		"t.h.x-000000.2026-02-03_12.log":    false, // another host
		"t.i-000000.2026-02-03_12.log":      false,
		"t.h-000000.2026-02-03_12.log.gz":   false, // another compression
		"t.h-000000.2026-02-03_12.log.json": false,
		"t.h.2026-02-03_12.log":             false, // without <REV> somebody may be writing it
		"t.h-000000.2026-02-03.log":         false, // another datetime format
		"xt.h-000000.2026-02-03_12.log":     false,
		"notes.txt":                         false,
	}
	disk := archivetest.NewDisk()
	for name := range names {
		disk.Put("/work/"+name, "whole\nhal")
	}
	a, err := archive.New(archive.Config{Name: pattern(t, "t", "h", ""), OutputDir: "/out", WorkDir: "/work", FS: disk})
	must(t, err)
	must(t, a.Prepare())
	closed(t, a, disk)
	want := map[string]string{}
	for name, ours := range names {
		if ours {
			want["/out/"+name] = "whole\n"
		} else {
			want["/work/"+name] = "whole\nhal"
		}
	}
	check(t, disk.AfterCrash(), want)
}

// torn is a disk on which an archive was killed in its third line.
func torn(t *testing.T, disk *archivetest.Disk, cfg archive.Config) *archivetest.Disk {
	t.Helper()
	cfg.FS = disk
	a, err := archive.New(cfg)
	must(t, err)
	must(t, a.Prepare())
	must(t, a.Append(noon, rec("one")))
	must(t, a.Sync())
	must(t, a.Append(noon, rec("two")))
	disk.Fail = func(op, _ string) error {
		if op == "write" {
			return errors.New("half")
		}
		return nil
	}
	if a.Sync() == nil {
		t.Fatal("it was not killed")
	}
	disk.Fail = nil
	return disk.Killed()
}

func TestRecoverLeavesOthersAlone(t *testing.T) {
	cfg := archive.Config{Name: pattern(t, "t", "h", ".gz"), OutputDir: "/out", Compression: archive.Gzip, Level: 1}
	for what, name := range map[string]archive.Name{
		"topic": pattern(t, "t2", "h", ".gz"), "prefix": pattern(t, "t.h", "h", ".gz"), "host": pattern(t, "t", "i", ".gz"),
	} {
		t.Run(what, func(t *testing.T) {
			disk := torn(t, archivetest.NewDisk(), cfg)
			before := disk.Files()
			other := cfg
			other.Name, other.FS = name, disk
			a, err := archive.New(other)
			must(t, err)
			must(t, a.Prepare())
			closed(t, a, disk)
			check(t, disk.Files(), before)

			cfg := cfg
			cfg.FS = disk
			a, err = archive.New(cfg)
			must(t, err)
			must(t, a.Prepare())
			closed(t, a, disk)
			for path, content := range disk.AfterCrash() {
				if text, err := unpack(path, content); text != "one\n" || err != nil {
					t.Errorf("%s holds %q, %v", path, text, err)
				}
			}
			if len(disk.Hidden()) != 0 {
				t.Errorf("left: %q", disk.Hidden())
			}
		})
	}
}

// A start does not touch what a running process has open, says so, and takes
// another name.
func TestRecoverLeavesOpenFilesAlone(t *testing.T) {
	for _, work := range []string{"", "/work"} {
		disk := archivetest.NewDisk()
		change := func(c *archive.Config) { c.Compression, c.Level, c.WorkDir = archive.Gzip, 1, work }
		a := open(t, disk, change)
		must(t, a.Append(noon, rec("a1")))
		must(t, a.Sync())
		var log bytes.Buffer
		b := open(t, disk, func(c *archive.Config) { change(c); c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
		if n := strings.Count(log.String(), "leaving"); n != 1 {
			t.Errorf("it is said %d times:\n%s", n, log.String())
		}
		must(t, b.Append(noon, rec("b1")))
		must(t, a.Append(noon, rec("a2")))
		closed2(t, a, b, disk)
		for path, want := range map[string]string{"/out/t-000000.12.gz": "a1\na2\n", "/out/t-000001.12.gz": "b1\n"} {
			if text, err := unpack(path, disk.AfterCrash()[path]); text != want || err != nil {
				t.Errorf("%s holds %q (%v), want %q", path, text, err, want)
			}
		}
	}
}

// A plain file without <REV> may be two processes'. When one of them has died in
// a line, that is not cut off while the other may be writing behind it: it is
// ended.
func TestRecoverOfAFileThatAnotherWrites(t *testing.T) {
	disk := archivetest.NewDisk()
	a, b := open(t, disk, nil), open(t, disk, nil)
	must(t, a.Append(noon, rec("a1"))) // has the marker now
	must(t, b.Append(noon, rec("b1")))
	must(t, b.Sync())
	disk.Fail = func(op, path string) error {
		if op == "write" && path == "/out/t.12" {
			return syscall.EIO
		}
		return nil
	}
	if err := a.Close(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("Close: %v", err)
	}
	disk.Fail = nil
	c := open(t, disk, nil) // b has it open
	must(t, c.Append(noon, rec("c1")))
	must(t, c.Sync())
	must(t, b.Append(noon, rec("b2")))
	closed2(t, b, c, disk)
	check(t, disk.AfterCrash(), map[string]string{"/out/t.12": "b1\na\nc1\nb2\n"})
}

// Settings that have changed do not keep a start from finishing what was begun
// under the old ones.
func TestRecoverAfterASettingHasChanged(t *testing.T) {
	disk := torn(t, archivetest.NewDisk(), archive.Config{
		Name: pattern(t, "t", "h", ".zst"), OutputDir: "/out", Compression: archive.Zstd, Level: 3, Format: record.JSON,
	})
	a, err := archive.New(archive.Config{Name: pattern(t, "t", "h", ""), OutputDir: "/out", WorkDir: "/work", FS: disk})
	must(t, err)
	must(t, a.Prepare())
	closed(t, a, disk)
	const path = "/out/t.h-000000.2026-02-03_12.log.zst"
	text, err := unpack(path, disk.AfterCrash()[path])
	if err != nil || strings.Count(text, "\n") != 1 || len(disk.Hidden()) != 0 {
		t.Errorf("it holds %q, %v; hidden: %q", text, err, disk.Hidden())
	}
}

// A read error is no reason to cut anything off.
func TestRecoverOfAFileThatCannotBeRead(t *testing.T) {
	cfg := archive.Config{Name: pattern(t, "t", "h", ".gz"), OutputDir: "/out", Compression: archive.Gzip, Level: 1}
	disk := torn(t, archivetest.NewDisk(), cfg)
	before := disk.Files()
	broken := errors.New("broken")
	disk.Fail = func(op, path string) error {
		if op == "read" && strings.HasSuffix(path, ".gz") {
			return broken
		}
		return nil
	}
	cfg.FS = disk
	a, err := archive.New(cfg)
	must(t, err)
	if err := a.Prepare(); !errors.Is(err, broken) {
		t.Errorf("Prepare: %v", err)
	}
	check(t, disk.Files(), before)
	if n := disk.OpenFiles(); n != 0 {
		t.Errorf("%d files are open", n)
	}
}

// The system's disk, its locks, and the programs that people have: a process is
// killed in a member, which a torn end stands for.
func TestRecoverOnTheSystemsDisk(t *testing.T) {
	for _, c := range []archive.Compression{archive.Gzip, archive.Zstd} {
		for _, work := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, work directory %t", c, work), func(t *testing.T) {
				testenv.Need(t, c.String())
				dir := t.TempDir()
				change := func(cfg *archive.Config) {
					cfg.Compression, cfg.Level, cfg.OutputDir = c, 3, filepath.Join(dir, "out")
					if work {
						cfg.WorkDir = filepath.Join(dir, "work")
					}
				}
				first := open(t, nil, change)
				want := ""
				for i := range 10_000 {
					line := fmt.Sprint("line ", i)
					want += line + "\n"
					must(t, first.Append(noon, rec(line)))
					if i%1000 == 999 {
						must(t, first.Sync())
					}
				}
				path := filepath.Join(dir, map[bool]string{false: "out", true: "work"}[work], "t-000000.12"+c.Suffix())
				second := open(t, nil, change) // leaves alone what the first has open
				first.Abandon()
				member, err := os.ReadFile(path)
				must(t, err)
				f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
				must(t, err)
				_, err = f.Write(member[:len(member)/20])
				must(t, errors.Join(err, f.Close()))
				if out, err := exec.Command(c.String(), "-t", path).CombinedOutput(); err == nil {
					t.Fatalf("it is not torn: %s", out)
				}
				must(t, second.Recover())
				must(t, second.Append(noon.Add(time.Hour), rec("next")))
				must(t, second.Close())
				path = filepath.Join(dir, "out", filepath.Base(path))
				if out, err := exec.Command(c.String(), "-t", path).CombinedOutput(); err != nil {
					t.Errorf("%s -t: %v, %s", c, err, out)
				}
				b, err := os.ReadFile(path)
				must(t, err)
				if text, err := unpack(path, string(b)); text != want || err != nil {
					t.Errorf("%d bytes (%v), want %d", len(text), err, len(want))
				}
				left, err := filepath.Glob(filepath.Join(dir, "*", ".*"))
				must(t, err)
				if len(left) > 0 {
					t.Errorf("left: %q", left)
				}
			})
		}
	}
}

// From memory to a disk: finished files are copied.
func TestMoveToAnotherFileSystem(t *testing.T) {
	work, err := os.MkdirTemp("/dev/shm", "archive")
	if err != nil {
		testenv.Missing(t, "a second file system: "+err.Error())
	}
	defer os.RemoveAll(work)
	out := t.TempDir()
	probe := filepath.Join(work, "probe")
	must(t, os.WriteFile(probe, nil, 0o600))
	if err := os.Link(probe, filepath.Join(out, "probe")); !errors.Is(err, syscall.EXDEV) {
		testenv.Missing(t, "a second file system: the temporary directory is in memory")
	}
	must(t, os.Remove(probe))
	a := open(t, nil, func(c *archive.Config) {
		c.OutputDir, c.WorkDir, c.RotateSize, c.Sidecar = out, work, 1<<20, true
	})
	for i := range 200_000 {
		must(t, a.Append(noon, rec(fmt.Sprintf("%015d", i))))
	}
	must(t, a.Close())
	total := 0
	for rev := range 4 {
		path := filepath.Join(out, fmt.Sprintf("t-%06d.12", rev))
		b, err := os.ReadFile(path)
		must(t, err)
		side, err := os.ReadFile(path + ".json")
		must(t, err)
		n := bytes.Count(b, []byte("\n"))
		checkSidecar(t, map[string]string{path: string(b), path + ".json": string(side)}, path, n)
		total += n
	}
	left, err := os.ReadDir(work)
	must(t, err)
	there, err := os.ReadDir(out)
	must(t, err)
	if total != 200_000 || len(left) != 0 || len(there) != 8 {
		t.Errorf("%d lines in %d files, left %v", total, len(there), left)
	}
}

// With <REV>, two processes have a file each, even if files could be continued.
func TestTwoProcessesTakeTwoRevisions(t *testing.T) {
	disk := archivetest.NewDisk()
	change := func(c *archive.Config) { c.RotateSize = 100 }
	a, b := open(t, disk, change), open(t, disk, change)
	must(t, a.Append(noon, rec("a")))
	must(t, b.Append(noon, rec("b")))
	closed2(t, a, b, disk)
	check(t, disk.AfterCrash(), map[string]string{"/out/t-000000.12": "a\n", "/out/t-000001.12": "b\n"})
}

// Two processes have one file, and both die, one of them in a line.
func TestRecoverOfAFileOfTwo(t *testing.T) {
	disk := archivetest.NewDisk()
	a, b := open(t, disk, nil), open(t, disk, nil)
	must(t, a.Append(noon, rec("a1")))
	must(t, b.Append(noon, rec("b1")))
	must(t, a.Sync())
	disk.Fail = func(op, path string) error {
		if op == "write" && path == "/out/t.12" {
			return syscall.EIO
		}
		return nil
	}
	if err := b.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("Sync: %v", err)
	}
	disk.Fail = nil
	if b.Close() == nil {
		t.Fatal("a failure is forgotten")
	}
	next := disk.Killed()
	closed(t, open(t, next, nil), next)
	check(t, next.AfterCrash(), map[string]string{"/out/t.12": "a1\n"})
}

// A plain file is continued that another format was used for, or another program.
// Wherever a process is killed that does so, what was there is left alone, were it
// zeros, which a power cut leaves where JSON was to be.
func TestRecoverKeepsWhatWasThere(t *testing.T) {
	json := func(c *archive.Config) { c.Format = record.JSON }
	const old = "a\x00b\nc\x00\n"
	for n, met := 0, func() bool { return true }; met(); n++ {
		disk := archivetest.NewDisk()
		disk.Put("/out/t.12", old)
		met = killAt(disk, n)
		a, err := archive.New(config(t, disk, json))
		must(t, err)
		_, _ = writeSome(a)
		for _, next := range []*archivetest.Disk{disk.Killed(), disk.PowerCut()} {
			closed(t, open(t, next, json), next)
			if got := next.AfterCrash()["/out/t.12"]; !strings.HasPrefix(got, old) || !strings.HasSuffix(got, "\n") {
				t.Fatalf("killed in operation %d: %.200q is left", n, got)
			}
		}
	}
}

// A line that somebody has begun in a file that was continued is none, however long
// it is.
func TestRecoverCutsOffWhatAnotherHasBegun(t *testing.T) {
	for _, begun := range []string{"", "b", strings.Repeat("b", 100_000)} {
		disk := archivetest.NewDisk()
		disk.Put("/out/t.12", "a\n"+begun)
		a := open(t, disk, nil)
		killed := false
		disk.Fail = func(op, path string) error {
			if killed = killed || op == "write" && path == "/out/t.12"; killed {
				return archivetest.ErrKilled
			}
			return nil
		}
		if errors.Join(a.Append(noon, rec("lost")), a.Sync()) == nil {
			t.Fatal("it was not killed")
		}
		next := disk.Killed()
		closed(t, open(t, next, nil), next)
		check(t, next.AfterCrash(), map[string]string{"/out/t.12": "a\n"})
	}
}

// Somebody has taken a file out of the work directory. Nothing stands in for it.
func TestFileTakenFromTheWorkDir(t *testing.T) {
	disk := archivetest.NewDisk()
	a := open(t, disk, func(c *archive.Config) { c.WorkDir, c.Sidecar = "/work", true })
	must(t, a.Append(noon, rec("one")))
	must(t, a.Sync())
	must(t, disk.Remove("/work/t-000000.12"))
	closed(t, a, disk)
	check(t, disk.Files(), nil)
	if hidden := disk.Hidden(); len(hidden) > 0 {
		t.Errorf("left: %q", hidden)
	}
}

// Somebody removes the file that is being written. What comes after that is not
// vouched for, and then goes to another one.
func TestFileRemoved(t *testing.T) {
	for _, c := range []archive.Compression{archive.None, archive.Gzip} {
		dir := t.TempDir()
		out := filepath.Join(dir, "out")
		a := open(t, nil, func(cfg *archive.Config) { cfg.Compression, cfg.Level, cfg.OutputDir = c, 1, out })
		must(t, a.Append(noon, rec("one")))
		must(t, a.Sync())
		must(t, os.RemoveAll(out))
		must(t, a.Append(noon, rec("two")))
		if err := a.Sync(); !errors.Is(err, archive.ErrRemoved) {
			t.Fatalf("Sync: %v", err)
		}
		must(t, a.Append(noon, rec("two")))
		must(t, a.Sync())
		moved := filepath.Join(dir, "moved")
		must(t, os.Rename(out, moved)) // is no loss
		must(t, a.Append(noon, rec("three")))
		must(t, a.Close())
		files, err := filepath.Glob(filepath.Join(moved, "t*"))
		must(t, err)
		if len(files) != 1 {
			t.Fatalf("%d files", len(files))
		}
		b, err := os.ReadFile(files[0])
		must(t, err)
		if text, err := unpack(files[0], string(b)); text != "two\nthree\n" || err != nil {
			t.Errorf("%s holds %q, %v", files[0], text, err)
		}
	}
}
