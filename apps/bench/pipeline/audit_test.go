package pipeline

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

const testSize = 40

// text is lines with these numbers.
func text(numbers ...int64) string {
	var b []byte
	for _, n := range numbers {
		b = append(appendLine(b, n, testSize), '\n')
	}
	return string(b)
}

func gzipped(t *testing.T, s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(s))
	if err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	return b.String()
}

func zstandard(t *testing.T, s string) string {
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(z.EncodeAll([]byte(s), nil))
}

func TestAudit(t *testing.T) {
	tests := map[string]struct {
		files map[string]string
		want  found
		err   string
	}{
		"all":           {files: map[string]string{"a.log": text(0, 1, 2)}, want: found{Files: 1, Bytes: 123, Lines: 3}},
		"several files": {files: map[string]string{"a.log": text(0), "b.log": text(1), "c/d.log": text(2), "e.log": ""}, want: found{Files: 4, Bytes: 123, Lines: 3}},
		"sidecar":       {files: map[string]string{"a.log": text(0, 1, 2), "a.log.json": "{}"}, want: found{Files: 1, Bytes: 123, Lines: 3}},
		"members":       {files: map[string]string{"a.gz": gzipped(t, text(0)) + gzipped(t, text(1, 2))}, want: found{Files: 1, Lines: 3}},
		"frames":        {files: map[string]string{"a.zst": zstandard(t, text(0)) + zstandard(t, text(1, 2))}, want: found{Files: 1, Lines: 3}},
		"twice":         {files: map[string]string{"a.log": text(0, 1, 0, 1, 2)}, want: found{Files: 1, Bytes: 205, Lines: 5, Duplicates: 2}},
		"out of order":  {files: map[string]string{"a.log": text(2, 0, 1)}, want: found{Files: 1, Bytes: 123, Lines: 3, Disorder: 2}},
		"missing":       {files: map[string]string{"a.log": text(0, 2, 2)}, err: "1 of the 3 lines are in no file; the first is line 1"},
		"nothing":       {err: "3 of the 3 lines are in no file"},
		"invented":      {files: map[string]string{"a.log": text(0, 1, 2, 3)}, err: "a.log: line 4 was never published"},
		"changed":       {files: map[string]string{"a.log": strings.Replace(text(0, 1, 2), "T00", "T01", 1)}, err: "a.log: line 1 was never published"},
		"not ours":      {files: map[string]string{"a.log": "hello\n"}, err: `line 1 was never published: "hello"`},
		"torn":          {files: map[string]string{"a.log": strings.TrimSuffix(text(0, 1, 2), "\n")}, err: "a.log: ends within a line"},
		"torn member":   {files: map[string]string{"a.gz": gzipped(t, text(0, 1, 2))[:50]}, err: "a.gz: unexpected EOF"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for name, content := range test.files {
				path := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, err := audit(dir, 3, testSize)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("got %v, want %q", err, test.err)
				}
				return
			}
			if test.want.Bytes == 0 {
				got.Bytes = 0 // of compressors
			}
			if err != nil || got != test.want {
				t.Errorf("got %+v, %v, want %+v", got, err, test.want)
			}
		})
	}
}

func TestLines(t *testing.T) {
	if got, want := string(appendLine(nil, 1234567, 100)), "000001234567 2026-03-14T00:08:49.100Z DEBUG shop/cart user=49458 cancelled name table parcel first c"; got != want {
		t.Errorf("line 1234567 is %q", got)
	}
	seen := map[string]bool{}
	for n := range int64(1000) {
		for _, size := range []int{leastSize, 50, 100, 333} {
			line := appendLine(nil, n, size)
			got, ok := number(line)
			if len(line) != size || !ok || got != n || bytes.ContainsAny(line, "\n\x00") {
				t.Fatalf("line %d of %d bytes: %q", n, size, line)
			}
		}
		seen[string(appendLine(nil, n, 100)[numberDigits:])] = true
	}
	if len(seen) < 1000 {
		t.Errorf("1000 lines have %d texts", len(seen))
	}
}
