package spool

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// This file is about files that are not as they were written, or cannot be read or written.

// TestTornFile cuts the file that was being written at every byte: what was whole is
// there, and what is put afterwards.
func TestTornFile(t *testing.T) {
	dir := t.TempDir()
	s := openIn(t, Config{Dir: dir}, 1<<20)
	records := numbered(0, 5)
	putAll(t, s, records)
	killed := crash(t, dir)
	size := len(records[0]) + overhead
	for length := range len(records)*size + 1 {
		dir := crash(t, killed)
		check(t, os.Truncate(onlyData(t, dir), int64(length)))
		s := openIn(t, Config{Dir: dir}, 1<<20)
		putAll(t, s, []string{"new"})
		want := append(slices.Clone(records[:length/size]), "new")
		if got := drain(t, s); !slices.Equal(got, want) {
			t.Errorf("of %d bytes: %q, want %q", length, got, want)
		}
		check(t, s.Close())
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("of %d bytes: %v was set aside, or left", length, left)
		}
	}
}

// TestDamagedByte spoils each byte of a file in turn, of a spool that was closed and of
// one that was killed: the other records are all there, in order.
func TestDamagedByte(t *testing.T) {
	dir := t.TempDir()
	s := openIn(t, Config{Dir: dir}, 1<<20)
	records := numbered(0, 4)
	putAll(t, s, records)
	killed := crash(t, dir)
	check(t, s.Close())
	for name, from := range map[string]string{"closed": dir, "killed": killed} {
		whole, err := os.ReadFile(onlyData(t, from))
		check(t, err)
		for at := range whole {
			for _, flip := range []byte{1, 0xff} {
				dir := crash(t, from)
				spoilt := bytes.Clone(whole)
				spoilt[at] ^= flip
				check(t, os.WriteFile(onlyData(t, dir), spoilt, 0o600))
				var said strings.Builder
				s := openIn(t, Config{Dir: dir, Log: slog.New(slog.NewTextHandler(&said, nil))}, 1<<20)
				victim := at / (len(whole) / len(records))
				want := slices.Delete(slices.Clone(records), victim, victim+1)
				if at%(len(whole)/len(records)) < lengthSize {
					want = records // the length is found anew
				}
				if got := drain(t, s); !slices.Equal(got, want) {
					t.Errorf("%s, byte %d: %q, want %q", name, at, got, want)
				}
				if said.Len() == 0 {
					t.Errorf("%s, byte %d: nothing was said", name, at)
				}
				check(t, s.Close())
			}
		}
	}
}

// TestDamageBehindWhatWasDropped does not bring that back.
func TestDamageBehindWhatWasDropped(t *testing.T) {
	closed := t.TempDir()
	s := openIn(t, Config{Dir: closed}, 1<<20)
	putAll(t, s, numbered(0, 4))
	for range 2 {
		_, err := s.Peek()
		check(t, err)
		check(t, s.Drop())
	}
	check(t, s.Close())
	whole, err := os.ReadFile(onlyData(t, closed))
	check(t, err)
	for at := len(whole) / 2; at < len(whole); at++ {
		dir := crash(t, closed)
		spoilt := bytes.Clone(whole)
		spoilt[at] ^= 1
		check(t, os.WriteFile(onlyData(t, dir), spoilt, 0o600))
		s := openIn(t, Config{Dir: dir}, 1<<20)
		got := drain(t, s)
		if len(got) == 0 || slices.Contains(got, "record 0") || slices.Contains(got, "record 1") {
			t.Errorf("byte %d: %q", at, got)
		}
		check(t, s.Close())
	}
}

func onlyData(t *testing.T, dir string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*.diskqueue.0*.dat"))
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	return found[0]
}

// TestDamagedPositions: whatever go-diskqueue's other file says, or if it is not
// there, nothing is lost, though some may come twice.
func TestDamagedPositions(t *testing.T) {
	dir := t.TempDir()
	s := openIn(t, Config{Dir: dir}, 1<<20)
	putAll(t, s, numbered(0, 4))
	_, err := s.Peek()
	check(t, err)
	check(t, s.Drop())
	check(t, s.Close())
	path := strings.Replace(onlyData(t, dir), "000000.dat", "meta.dat", 1)
	text, err := os.ReadFile(path)
	check(t, err)
	texts := []string{"", "x", "3\n", "3\n9,0\n9,0\n", "3\n0,9999\n0,9999\n", "-1\n0,-1\n0,0\n", "99\n0,0\n0,80\n", string(text[:len(text)-2]), string(text)}
	for at := range text {
		for _, spoilt := range "0123456789-, x" {
			texts = append(texts, string(text[:at])+string(spoilt)+string(text[at+1:]))
		}
	}
	for _, said := range texts {
		dir := crash(t, dir)
		check(t, os.WriteFile(filepath.Join(dir, filepath.Base(path)), []byte(said), 0o600))
		s := openIn(t, Config{Dir: dir}, 1<<20)
		got := drain(t, s)
		if want := numbered(0, 4); !slices.Equal(got, want) && !slices.Equal(got, want[1:]) {
			t.Errorf("%q: %q", said, got)
		}
		check(t, s.Close())
	}
}

// TestHalfRemoved: a process that was killed while it removed the files of what was
// dropped has lost nothing, and nobody is told so.
func TestHalfRemoved(t *testing.T) {
	dir := t.TempDir()
	s := openIn(t, Config{Dir: dir}, 1)
	putAll(t, s, numbered(0, 2))
	check(t, s.Close())
	files, err := filepath.Glob(filepath.Join(dir, "*.diskqueue.0*.dat"))
	check(t, err)
	check(t, os.Remove(files[0]))
	var said strings.Builder
	s = openIn(t, Config{Dir: dir, Log: slog.New(slog.NewTextHandler(&said, nil))}, 1)
	if got := drain(t, s); !slices.Equal(got, numbered(1, 2)) {
		t.Errorf("%q", got)
	}
	check(t, s.Close())
	if left, _ := os.ReadDir(dir); len(left) > 0 || said.Len() > 0 {
		t.Errorf("%v is left, and this was said: %s", left, said.String())
	}
}

// TestUnreadable: what cannot be read for a while is there afterwards, all of it, whatever
// go-diskqueue makes of its files meanwhile.
func TestUnreadable(t *testing.T) {
	for name, instead := range map[string]func(path string) error{
		"nothing":     nil,
		"a directory": func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		dir := t.TempDir()
		s := openIn(t, Config{Dir: dir}, 1<<20)
		putAll(t, s, numbered(0, 3))
		_, err := s.Peek()
		check(t, err)
		check(t, s.Drop())
		path := onlyData(t, dir)
		check(t, os.Rename(path, path+".away"))
		if instead != nil {
			check(t, instead(path))
		}
		if record, err := s.Peek(); err == nil {
			t.Errorf("%s: %q was read", name, record)
		}
		if instead != nil {
			check(t, os.Remove(path)) // where it was
		}
		check(t, os.Rename(path+".away", path))
		if got := drain(t, s); !slices.Equal(got, numbered(1, 3)) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestUnwritablePositions: while they cannot be written down, nothing is lost, and what was
// dropped does not come again in the same process.
func TestUnwritablePositions(t *testing.T) {
	for _, when := range []string{"first peek", "drop"} {
		dir := t.TempDir()
		s := openIn(t, Config{Dir: dir}, 1<<20)
		putAll(t, s, numbered(0, 3))
		positions := strings.Replace(onlyData(t, dir), "000000.dat", "meta.dat", 1)
		trouble := func(do func() error) {
			check(t, os.Rename(positions, positions+".away"))
			check(t, os.Mkdir(positions, 0o700))
			if do() == nil {
				t.Errorf("%s succeeded", when)
			}
			check(t, os.Remove(positions))
			check(t, os.Rename(positions+".away", positions))
		}
		peek := func() error { _, err := s.Peek(); return err }
		left := 0
		if when == "first peek" {
			trouble(peek)
		} else {
			check(t, peek())
			trouble(s.Drop)
			left = 1
		}
		if got := drain(t, s); !slices.Equal(got, numbered(left, 3)) {
			t.Errorf("%s: %q", when, got)
		}
		check(t, s.Close())
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%s: %v is left", when, left)
		}
	}
}
