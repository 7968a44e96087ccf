package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func plainly(p span) string {
	if p.from == p.to {
		return fmt.Sprint(p.from)
	}
	return fmt.Sprintf("%d-%d", p.from, p.to)
}

func TestLines(t *testing.T) {
	tests := []struct {
		lines []int64
		want  string
	}{
		{[]int64{5}, "line 5"},
		{[]int64{5, 6, 7}, "lines 5-7"},
		{[]int64{7, 5, 6}, "lines 5-7"},
		{[]int64{9, 1, 3, 2, 8}, "lines 1-3, 8-9"},
		{[]int64{1, 3, 5, 7, 9, 11, 13, 15, 17, 18}, "lines 1, 3, 5, 7, 9, 11, 13, 15 and others up to 18"},
	}
	for _, tt := range tests {
		var s lineSet
		s.add(tt.lines...)
		if got := s.tell("line", plainly); got != tt.want || s.n != int64(len(tt.lines)) {
			t.Errorf("%v: %q of %d, want %q", tt.lines, got, s.n, tt.want)
		}
	}
}

// In whatever order lines come, the spans are those of the lines.
func TestLinesInAnyOrder(t *testing.T) {
	for range 200 {
		in := make([]bool, 62)
		var s lineSet
		for _, line := range rand.Perm(60)[:rand.IntN(60)] {
			in[line+1] = true
			s.addOne(int64(line + 1))
		}
		var want []span
		for line, is := range in {
			if is && !in[line-1] {
				want = append(want, span{int64(line), 0})
			}
			if is && !in[line+1] {
				want[len(want)-1].to = int64(line)
			}
		}
		if fmt.Sprint(s.spans) != fmt.Sprint(want) {
			t.Fatalf("spans %v, want %v", s.spans, want)
		}
	}
}

func TestManyLinesAreCounted(t *testing.T) {
	var s lineSet
	for line := int64(1); line < 6*spansHeld; line += 2 {
		s.addOne(line)
	}
	if text := s.tell("line", plainly); len(s.spans) != spansHeld || s.n != 3*spansHeld || !strings.HasSuffix(text, fmt.Sprintf("others up to %d", 6*spansHeld-1)) {
		t.Errorf("%d spans of %d lines: %s", len(s.spans), s.n, text)
	}
}
