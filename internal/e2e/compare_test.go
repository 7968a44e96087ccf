package e2e

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
)

// readLines returns the lines of the named files, unpacking those that end in
// .gz, in the order of the names.
func readLines(t *testing.T, names []string) []string {
	t.Helper()
	var lines []string
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var r io.Reader = f
		if strings.HasSuffix(name, ".gz") {
			if r, err = gzip.NewReader(bufio.NewReader(f)); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		s := bufio.NewScanner(r)
		s.Buffer(nil, 1<<20)
		s.Split(atNewline)
		for s.Scan() {
			lines = append(lines, s.Text())
		}
		if err := s.Err(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	return lines
}

// atNewline splits like bufio.ScanLines, but a carriage return before the
// newline is part of the line.
func atNewline(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

// A difference is how an output is unlike the input it should equal.
type difference struct {
	lost     []string // lines of the input that never came
	strange  []string // lines that came and are none of the input's
	repeated []string // lines that had come before
	early    []string // lines that came for the first time before one that is earlier in the input
}

// compare compares got with want, whose lines must all be unlike.
func compare(want, got []string) difference {
	var d difference
	index := make(map[string]int, len(want))
	for i, line := range want {
		index[line] = i
	}
	came := make([]bool, len(want))
	next := 0 // the first line that has not come
	for _, line := range got {
		i, ok := index[line]
		switch {
		case !ok:
			d.strange = append(d.strange, line)
			continue
		case came[i]:
			d.repeated = append(d.repeated, line)
			continue
		case i > next:
			d.early = append(d.early, line)
		}
		came[i] = true
		for next < len(want) && came[next] {
			next++
		}
	}
	for i, line := range want {
		if !came[i] {
			d.lost = append(d.lost, line)
		}
	}
	return d
}

func (d difference) String() string {
	var b strings.Builder
	for _, part := range []struct {
		name  string
		lines []string
	}{{"lost", d.lost}, {"strange", d.strange}, {"repeated", d.repeated}, {"early", d.early}} {
		fmt.Fprintf(&b, "%d %s", len(part.lines), part.name)
		if len(part.lines) > 0 {
			fmt.Fprintf(&b, " (%q … %q)", part.lines[0], part.lines[len(part.lines)-1])
		}
		b.WriteString("; ")
	}
	return strings.TrimSuffix(b.String(), "; ")
}

func TestCompare(t *testing.T) {
	tests := []struct{ want, got, difference string }{
		{"a b c", "a b c", "0 lost; 0 strange; 0 repeated; 0 early"},
		{"a b c", "a c", `1 lost ("b" … "b"); 0 strange; 0 repeated; 1 early ("c" … "c")`},
		{"a b c", "a b", `1 lost ("c" … "c"); 0 strange; 0 repeated; 0 early`},
		{"a b c", "a b a b c", `0 lost; 0 strange; 2 repeated ("a" … "b"); 0 early`},
		{"a b c", "a c b", `0 lost; 0 strange; 0 repeated; 1 early ("c" … "c")`},
		{"a b c", "a b x c", `0 lost; 1 strange ("x" … "x"); 0 repeated; 0 early`},
	}
	for _, tt := range tests {
		if got := compare(strings.Fields(tt.want), strings.Fields(tt.got)).String(); got != tt.difference {
			t.Errorf("%q instead of %q: %s, want %s", tt.got, tt.want, got, tt.difference)
		}
	}
}
