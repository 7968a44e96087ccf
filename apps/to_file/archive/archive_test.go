package archive_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/millrace-mq/millrace/apps/internal/record"
	"github.com/millrace-mq/millrace/apps/to_file/archive"
	"github.com/millrace-mq/millrace/apps/to_file/archive/archivetest"
)

var noon = time.Date(2026, time.February, 3, 12, 0, 0, 0, time.UTC)

// config is that of an archive on disk that writes /out/t<REV>.<hour>.
func config(t *testing.T, disk archive.FS, change func(*archive.Config)) archive.Config {
	t.Helper()
	cfg := archive.Config{OutputDir: "/out", FS: disk, Level: 6}
	if change != nil {
		change(&cfg)
	}
	p := archive.Pattern{Format: "<TOPIC><REV>.<DATETIME>", Datetime: "%H", Topic: "t"}
	p.Revision = cfg.NeedsRevision()
	p.Suffix = cfg.Compression.Suffix()
	var err error
	if cfg.Name, err = p.Name(); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func open(t *testing.T, disk archive.FS, change func(*archive.Config)) *archive.Archive {
	t.Helper()
	a, err := archive.New(config(t, disk, change))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Prepare(); err != nil {
		t.Fatal(err)
	}
	return a
}

// rec is a message that says s.
func rec(s string) record.Record { return record.Record{Body: []byte(s)} }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func check(t *testing.T, got, want map[string]string) {
	t.Helper()
	if !maps.Equal(got, want) {
		t.Errorf("files are %q, want %q", got, want)
	}
}

// closed closes a and looks for a leak.
func closed(t *testing.T, a *archive.Archive, disk *archivetest.Disk) {
	t.Helper()
	must(t, a.Close())
	if n := disk.OpenFiles(); n != 0 {
		t.Errorf("%d files are open", n)
	}
}

func TestSyncMakesLinesSafe(t *testing.T) {
	disk := archivetest.NewDisk()
	a := open(t, disk, func(c *archive.Config) { c.OutputDir = "/new/and/deep" })
	must(t, a.Append(noon, rec("one")))
	must(t, a.Sync())
	must(t, a.Append(noon, rec("two")))
	check(t, disk.AfterCrash(), map[string]string{"/new/and/deep/t.12": "one\n"})
	must(t, a.Sync())
	check(t, disk.AfterCrash(), map[string]string{"/new/and/deep/t.12": "one\ntwo\n"})
	closed(t, a, disk)
}

func TestRotation(t *testing.T) {
	type step struct {
		after time.Duration
		line  string // "-": Rotate; "": Close, as on HUP
	}
	tests := map[string]struct {
		change func(*archive.Config)
		steps  []step
		want   map[string]string
	}{
		"name": {
			steps: []step{{0, "a"}, {59 * time.Minute, "b"}, {time.Hour, "c"}},
			want:  map[string]string{"/out/t.12": "a\nb\n", "/out/t.13": "c\n"},
		},
		"size": {
			change: func(c *archive.Config) { c.RotateSize = 4 },
			steps:  []step{{0, "a"}, {0, "b"}, {0, "c"}, {0, "d"}},
			want:   map[string]string{"/out/t-000000.12": "a\nb\nc\n", "/out/t-000001.12": "d\n"},
		},
		"size and name": {
			change: func(c *archive.Config) { c.RotateSize = 1 },
			steps:  []step{{0, "a"}, {0, "b"}, {time.Hour, "c"}},
			want:   map[string]string{"/out/t-000000.12": "a\n", "/out/t-000001.12": "b\n", "/out/t-000000.13": "c\n"},
		},
		"interval": {
			change: func(c *archive.Config) { c.RotateInterval = time.Minute },
			steps:  []step{{0, "a"}, {time.Minute, "b"}, {time.Minute + 1, "c"}},
			want:   map[string]string{"/out/t-000000.12": "a\nb\n", "/out/t-000001.12": "c\n"},
		},
		"hangup continues a plain file": {
			steps: []step{{0, "a"}, {0, ""}, {0, "b"}, {0, ""}, {0, ""}},
			want:  map[string]string{"/out/t.12": "a\nb\n"},
		},
		"hangup with a work directory": {
			change: func(c *archive.Config) { c.WorkDir = "/work" },
			steps:  []step{{0, "a"}, {0, ""}, {0, "b"}},
			want:   map[string]string{"/out/t-000000.12": "a\n", "/out/t-000001.12": "b\n"},
		},
		"tick begins an empty file": {
			steps: []step{{0, "-"}, {time.Hour, "-"}, {time.Hour, "-"}},
			want:  map[string]string{"/out/t.12": "", "/out/t.13": ""},
		},
		"tick ends a file": {
			change: func(c *archive.Config) { c.WorkDir, c.RotateInterval = "/work", time.Minute },
			steps:  []step{{0, "a"}, {time.Hour / 2, "skip"}},
			want:   map[string]string{"/out/t-000000.12": "a\n"},
		},
		"tick without need": {
			change: func(c *archive.Config) { c.RotateInterval = time.Minute },
			steps:  []step{{0, "a"}, {time.Minute, "-"}, {time.Minute, "b"}},
			want:   map[string]string{"/out/t-000000.12": "a\nb\n"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			disk := archivetest.NewDisk()
			a := open(t, disk, tt.change)
			for _, s := range tt.steps {
				switch now := noon.Add(s.after); s.line {
				case "-", "skip":
					must(t, a.Rotate(now, s.line == "skip"))
				case "":
					must(t, a.Close())
				default:
					must(t, a.Append(now, rec(s.line)))
				}
			}
			closed(t, a, disk)
			check(t, disk.Files(), tt.want)
			check(t, disk.AfterCrash(), tt.want)
		})
	}
}

func TestNothingIsOverwritten(t *testing.T) {
	tests := map[string]struct {
		change func(*archive.Config)
		there  map[string]string
		want   map[string]string // what is new
	}{
		"plain file is continued": {
			there: map[string]string{"/out/t.12": "old\n"},
			want:  map[string]string{"/out/t.12": "old\nnew\n"},
		},
		"half a line is ended first": {
			there: map[string]string{"/out/t.12": "old\nhal"},
			want:  map[string]string{"/out/t.12": "old\nhal\nnew\n"},
		},
		"full file": {
			change: func(c *archive.Config) { c.RotateSize = 10 },
			there:  map[string]string{"/out/t-000000.12": "01234567890", "/out/t-000001.12": "0\n"},
			want:   map[string]string{"/out/t-000001.12": "0\nnew\n"},
		},
		"interval": {
			change: func(c *archive.Config) { c.RotateInterval = time.Hour },
			there:  map[string]string{"/out/t-000000.12": "old\n"},
			want:   map[string]string{"/out/t-000001.12": "new\n"},
		},
		"finished file": {
			change: func(c *archive.Config) { c.WorkDir = "/work" },
			there:  map[string]string{"/out/t-000000.12": "old\n"},
			want:   map[string]string{"/out/t-000001.12": "new\n"},
		},
		"unfinished file of a crash": {
			change: func(c *archive.Config) { c.WorkDir = "/work" },
			there:  map[string]string{"/work/t-000000.12": "old\n"},
			want:   map[string]string{"/out/t-000000.12": "old\n", "/out/t-000001.12": "new\n"},
		},
		"unfinished file of a crash in a move": {
			change: func(c *archive.Config) { c.WorkDir = "/work" },
			there:  map[string]string{"/work/t-000000.12": "old\n", "/out/t-000000.12": "old\n"},
			want:   map[string]string{"/out/t-000001.12": "old\n", "/out/t-000002.12": "new\n"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			disk := archivetest.NewDisk()
			want := maps.Clone(tt.there)
			for path, content := range tt.there {
				disk.Put(path, content)
			}
			a := open(t, disk, tt.change)
			must(t, a.Append(noon, rec("new")))
			closed(t, a, disk)
			maps.Copy(want, tt.want)
			delete(want, "/work/t-000000.12") // moved
			check(t, disk.AfterCrash(), want)
		})
	}
}

// A file that another process puts there while ours is written is kept too.
func TestNameTakenWhileWriting(t *testing.T) {
	disk := archivetest.NewDisk()
	a := open(t, disk, func(c *archive.Config) { c.WorkDir = "/work" })
	must(t, a.Append(noon, rec("ours")))
	disk.Put("/out/t-000000.12", "theirs\n")
	disk.Put("/out/t-000001.12", "theirs\n")
	closed(t, a, disk)
	check(t, disk.AfterCrash(), map[string]string{
		"/out/t-000000.12": "theirs\n", "/out/t-000001.12": "theirs\n", "/out/t-000002.12": "ours\n",
	})
}

// unpack returns what can be read of a file, however it ends.
func unpack(path, content string) (string, error) {
	var r io.Reader
	var err error
	switch filepath.Ext(path) {
	case ".gz":
		r, err = gzip.NewReader(strings.NewReader(content)) // the standard library's, which has not written it
	case ".zst":
		if content == "" {
			return "", io.ErrUnexpectedEOF
		}
		r, err = zstd.NewReader(strings.NewReader(content), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
	default:
		return content, nil
	}
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(r)
	return string(b), err
}

func TestGzip(t *testing.T) {
	disk := archivetest.NewDisk()
	a := open(t, disk, func(c *archive.Config) { c.Compression = archive.Gzip })
	want := ""
	for i := range 3 {
		line := fmt.Sprint("line ", i)
		must(t, a.Append(noon, rec(line)))
		must(t, a.Sync())
		must(t, a.Sync())
		want += line + "\n"
		got, err := unpack(".gz", disk.AfterCrash()["/out/t-000000.12.gz"])
		if err != nil || got != want {
			t.Fatalf("after sync %d the file holds %q (%v), want %q", i, got, err, want)
		}
	}
	if n := strings.Count(disk.Files()["/out/t-000000.12.gz"], "\x1f\x8b\x08"); n != 3 {
		t.Errorf("%d members for 3 syncs with lines", n)
	}
	must(t, a.Close())
	must(t, a.Append(noon, rec("next")))
	closed(t, a, disk)
	got, err := unpack(".gz", disk.AfterCrash()["/out/t-000001.12.gz"])
	if err != nil || got != "next\n" {
		t.Errorf("the next file holds %q (%v)", got, err)
	}
}

func TestEmptyGzipFileIsOne(t *testing.T) {
	disk := archivetest.NewDisk()
	a := open(t, disk, func(c *archive.Config) { c.Compression = archive.Gzip })
	must(t, a.Rotate(noon, false))
	closed(t, a, disk)
	if got, err := unpack(".gz", disk.AfterCrash()["/out/t-000000.12.gz"]); err != nil || got != "" {
		t.Errorf("it holds %q (%v)", got, err)
	}
}

// Whatever operation of the disk fails, every line that a Sync vouched for is
// there after a crash, and nothing is vouched for after the failure.
func TestEveryFault(t *testing.T) {
	layouts := map[string]func(*archive.Config){
		"plain":     nil,
		"moved":     func(c *archive.Config) { c.WorkDir, c.RotateSize = "/work", 20 },
		"gzip":      func(c *archive.Config) { c.WorkDir, c.RotateSize, c.Compression = "/work", 20, archive.Gzip },
		"described": func(c *archive.Config) { c.Sidecar, c.RotateSize = true, 20 },
	}
	for name, change := range layouts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for n := 0; ; n++ {
				disk := archivetest.NewDisk()
				left := n
				disk.Fail = func(op, _ string) error {
					if op == "rmdir" { // of directories that do no harm
						return nil
					}
					if left--; left == -1 {
						return syscall.EIO
					}
					return nil
				}
				a, err := archive.New(config(t, disk, change))
				must(t, err)
				safe, err := writeSome(a)
				kept := crashed(t, disk)
				for _, line := range safe {
					if !slices.Contains(kept, line) {
						t.Fatalf("fault %d: %q was vouched for and is lost; kept %q", n, line, kept)
					}
				}
				if left >= 0 {
					if len(safe) != someLines || disk.OpenFiles() != 0 {
						t.Fatalf("without a fault: %d lines, %d open files, error %v", len(safe), disk.OpenFiles(), err)
					}
					return // no operation was left to fail
				}
				if !errors.Is(err, syscall.EIO) {
					t.Fatalf("fault %d was not reported: %v", n, err)
				}
				stopped(t, a, disk, err)
			}
		})
	}
}

// How many lines writeSome and keepAll write, and how long after one another: there is a
// sync after every fourth, and an hour ends between them. Tests that go through all of
// their operations take the square of that.
const (
	someLines = 16
	between   = 6 * time.Minute
)

// writeSome returns the lines that were safe when it ended, by an error or not.
func writeSome(a *archive.Archive) (safe []string, err error) {
	if err := a.Prepare(); err != nil {
		return nil, err
	}
	var written []string
	for i := range someLines {
		line := fmt.Sprintf("line %d", i)
		if err := a.Append(noon.Add(time.Duration(i)*between), rec(line)); err != nil {
			return safe, err
		}
		written = append(written, line)
		if i%4 == 3 {
			if err := a.Sync(); err != nil {
				return safe, err
			}
			safe = slices.Clone(written)
		}
	}
	if err := a.Close(); err != nil {
		return safe, err
	}
	return written, nil
}

// crashed returns the lines that a crash leaves.
func crashed(t *testing.T, disk *archivetest.Disk) (lines []string) {
	for path, content := range disk.AfterCrash() {
		content, _ = unpack(path, content) // the last member may be torn
		lines = append(lines, strings.Split(content, "\n")...)
	}
	return lines
}

// stopped checks that a writes nothing more after it has failed with err.
func stopped(t *testing.T, a *archive.Archive, disk *archivetest.Disk, err error) {
	t.Helper()
	before := disk.Files()
	for name, f := range map[string]func() error{
		"Append": func() error { return a.Append(noon.Add(24*time.Hour), rec("more")) },
		"Sync":   a.Sync,
		"Rotate": func() error { return a.Rotate(noon.Add(24*time.Hour), false) },
		"Close":  a.Close,
	} {
		if got := f(); !errors.Is(got, err) && got.Error() != err.Error() {
			t.Errorf("%s after the failure: %v, want %v", name, got, err)
		}
	}
	check(t, disk.Files(), before)
	if n := disk.OpenFiles(); n != 0 {
		t.Errorf("%d files are open after the failure", n)
	}
}

func TestRefusedConfig(t *testing.T) {
	tests := map[string]struct {
		change func(*archive.Config)
		want   string
	}{
		"no directory":     {func(c *archive.Config) { c.OutputDir = "" }, "output-dir"},
		"level":            {func(c *archive.Config) { c.Compression, c.Level = archive.Gzip, 10 }, "gzip-level 10"},
		"negative size":    {func(c *archive.Config) { c.RotateSize = -1 }, "negative"},
		"no revision":      {func(c *archive.Config) { c.RotateSize = 1 }, "<REV>"},
		"moved, no <REV>":  {func(c *archive.Config) { c.WorkDir = "/w" }, "<REV>"},
		"gzipped, no<REV>": {func(c *archive.Config) { c.Compression = archive.Gzip }, "<REV>"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			n, err := archive.Pattern{Format: "x", Datetime: "", Revision: true}.Name()
			must(t, err)
			cfg := archive.Config{Name: n, OutputDir: "/out", Level: 6}
			tt.change(&cfg)
			if _, err := archive.New(cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestOnTheSystemsDisk(t *testing.T) {
	dir := t.TempDir()
	for _, gz := range []bool{false, true} {
		t.Run(fmt.Sprintf("gzip %t", gz), func(t *testing.T) {
			a := open(t, nil, func(c *archive.Config) {
				c.OutputDir = filepath.Join(dir, fmt.Sprint(gz), "out")
				c.WorkDir = filepath.Join(dir, fmt.Sprint(gz), "work")
				c.RotateSize = 1 << 20
				if gz {
					c.Compression = archive.Gzip
				}
			})
			line := bytes.Repeat([]byte("x"), 99)
			for range 30_000 {
				must(t, a.Append(noon, record.Record{Body: line}))
			}
			must(t, a.Append(noon, record.Record{Body: bytes.Repeat(line, 30_000)})) // longer than any buffer
			must(t, a.Close())
			finished, err := filepath.Glob(filepath.Join(dir, fmt.Sprint(gz), "out", "*"))
			must(t, err)
			left, err := os.ReadDir(filepath.Join(dir, fmt.Sprint(gz), "work"))
			must(t, err)
			if len(finished) != 3 || len(left) != 0 {
				t.Errorf("%d finished files, want 3; %d left in the work directory", len(finished), len(left))
			}
			total := 0
			for _, path := range finished {
				b, err := os.ReadFile(path)
				must(t, err)
				content, err := unpack(path, string(b))
				must(t, err)
				total += strings.Count(content, "\n")
			}
			if total != 30_001 {
				t.Errorf("%d lines", total)
			}
		})
	}
}

func TestPrepareFindsWhatCannotWork(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	for _, out := range []string{"file", "file/below"} {
		a, err := archive.New(config(t, nil, func(c *archive.Config) { c.OutputDir = filepath.Join(dir, out) }))
		must(t, err)
		if err := a.Prepare(); !errors.Is(err, syscall.ENOTDIR) {
			t.Errorf("output directory %s: %v, want ENOTDIR", out, err)
		}
	}
}
