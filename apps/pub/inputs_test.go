package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// pubFiles publishes files to a daemon that refuses the message "bad", and returns what
// it has. change may alter how it is done.
func pubFiles(t *testing.T, files map[string][]byte, change func(dir string, p *publishing)) (stored []string, said string, err error) {
	t.Helper()
	dir := t.TempDir()
	var names []string
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		names = append(names, path)
	}
	slices.Sort(names)
	var stderr strings.Builder
	synctest.Test(t, func(t *testing.T) {
		d := &daemon{}
		p := publishingTo(nil, &stderr, d)
		in, errIn := newInputs(names, nil, "line")
		if errIn != nil {
			t.Fatal(errIn)
		}
		p.feed.inputs, p.sinks[0].(*lane).inputs = in, in
		if change != nil {
			change(dir, p)
		}
		err = p.run(t.Context())
		stored = d.stored
	})
	return stored, strings.ReplaceAll(stderr.String(), dir+"/", ""), err
}

func gzipped(text string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	fmt.Fprint(w, text)
	w.Close()
	return b.Bytes()
}

func zstandard(text string) []byte {
	w, _ := zstd.NewWriter(nil)
	return w.EncodeAll([]byte(text), nil)
}

// Files are read one after the other; the last record of one needs no delimiter.
func TestFiles(t *testing.T) {
	stored, _, err := pubFiles(t, map[string][]byte{
		"a": []byte("1\n2"), "b.gz": append(gzipped("3\n4\n"), gzipped("5")...), "c": nil, "d.zst": zstandard("6\n"), "e.gz": nil, "f": []byte("\n7\n"),
	}, nil)
	if want := []string{"1", "2", "3", "4", "5", "6", "7"}; err != nil || !slices.Equal(stored, want) {
		t.Errorf("stored %q (%v), want %q", stored, err, want)
	}
}

// What precedes the damage is published, and the damage is told.
func TestTornFile(t *testing.T) {
	torn := append(gzipped("1\n2\n"), gzipped("3\n4\n")[:14]...)
	stored, _, err := pubFiles(t, map[string][]byte{"a.gz": torn, "b": []byte("never")}, nil)
	if err == nil || !strings.Contains(err.Error(), "a.gz after record 2: unexpected EOF") {
		t.Errorf("error %v", err)
	}
	if !slices.Equal(stored, []string{"1", "2"}) {
		t.Errorf("stored %q", stored)
	}
}

// Lines are counted in their own file.
func TestLinesOfFiles(t *testing.T) {
	long := strings.Repeat("x", 1001)
	_, said, err := pubFiles(t, map[string][]byte{
		"a": []byte("1\n" + long + "\n3\n" + long), "b": []byte(long + "\n" + long + "\n3"),
	}, nil)
	if err == nil || !regexp.MustCompile(`^4 records were not fit to be published: lines \S*/a:2, \S*/a:4 to \S*/b:2$`).MatchString(err.Error()) {
		t.Errorf("error %v", err)
	}
	for _, want := range []string{"line a:2: 1001 bytes", "line a:4: ", "line b:1: ", "line b:2: "} {
		if !strings.Contains(said, want) {
			t.Errorf("said %q, want %q in it", said, want)
		}
	}
}

// What was not acknowledged is kept as it was read, behind what was there; a second run
// publishes it.
func TestKept(t *testing.T) {
	formats := map[string]struct {
		in, kept string
		change   func(*publishing)
	}{
		"raw":             {"one\nbad\n\n" + strings.Repeat("x", 1001) + "\ntwo\nbad", "bad\n" + strings.Repeat("x", 1001) + "\nbad\n", nil},
		"json":            {`{"topic":"t","body":"bad"}` + "\n" + `{"body":"one"}` + "\nhello\n", `{"topic":"t","body":"bad"}` + "\nhello\n", func(p *publishing) { p.feed.decoder.wrapped = true }},
		"length-prefixed": {"\x00\x00\x00\x03bad\x00\x00\x00\x03one", "\x00\x00\x00\x03bad", func(p *publishing) { p.feed.framing.delim = nil }},
	}
	for name, tt := range formats {
		t.Run(name, func(t *testing.T) {
			failed := filepath.Join(t.TempDir(), "failed")
			for _, before := range []string{"", tt.kept} {
				_, said, err := pubFiles(t, map[string][]byte{"in": []byte(tt.in)}, func(_ string, p *publishing) {
					if tt.change != nil {
						tt.change(p)
					}
					p.feed.keeping, p.feed.framing.limit = true, mostKept
					p.sinks[0].(*lane).open = (&daemon{fate: refuseBad}).connect
					var err error
					if p.ledger.keep, err = openKeeper(failed, p.feed.framing.delim, p.feed.inputs); err != nil {
						t.Fatal(err)
					}
				})
				if err == nil || !strings.Contains(said, "added to "+failed) {
					t.Errorf("error %v, said %q", err, said)
				}
				kept, err := os.ReadFile(failed)
				if err != nil || !sameRecords(string(kept), before+tt.kept) {
					t.Errorf("kept %.100q (%v), want %.100q", kept, err, before+tt.kept)
				}
			}
		})
	}
}

// sameRecords reports whether a and b are the same but for the order of lines.
func sameRecords(a, b string) bool {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	slices.Sort(x)
	slices.Sort(y)
	return slices.Equal(x, y)
}

func TestNothingToKeep(t *testing.T) {
	var failed string
	_, _, err := pubFiles(t, map[string][]byte{"in": []byte("one\n")}, func(dir string, p *publishing) {
		failed = filepath.Join(dir, "failed")
		var err error
		if p.ledger.keep, err = openKeeper(failed, []byte("\n"), p.feed.inputs); err != nil {
			t.Fatal(err)
		}
	})
	if _, errStat := os.Stat(failed); err != nil || !os.IsNotExist(errStat) {
		t.Errorf("error %v; the file: %v", err, errStat)
	}
}

func TestWhatIsReadIsNotWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "in")
	if err := os.WriteFile(path, []byte("a\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	std, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer std.Close()
	for how, names := range map[string][]string{"by name": {path}, "as standard input": nil, "as standard input, named": {stdin}} {
		in, err := newInputs(names, std, "line")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := openKeeper(path, []byte("\n"), in); err == nil || !strings.Contains(err.Error(), "is what is read") {
			t.Errorf("%s: %v", how, err)
		}
	}
}
