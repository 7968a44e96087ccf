package logs

import (
	"fmt"
	"log/slog"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// about is what a line about a topic is told apart by.
func about(topic string) []slog.Attr { return []slog.Attr{slog.String("topic", topic)} }

// offer is n lines of a message about a topic at a time: how many are written, and what was
// told to have been left out before.
func (r *repeats) offer(n int, level slog.Level, msg, topic string, now time.Time) (written int, told []omitted) {
	for range n {
		yes, before := r.admit(kindOf(level, msg, about(topic)), about(topic), 0, now)
		told = append(told, before...)
		if yes {
			written++
		}
	}
	return written, told
}

func TestLinesThatAreAlikeAreBounded(t *testing.T) {
	r := new(repeats)
	for _, step := range []struct {
		after       time.Duration
		lines       int
		msg, topic  string
		level       slog.Level
		written     int
		left        int // told before, of the first that was told
		leftOfTopic string
	}{
		{0, 10, "m", "a", slog.LevelInfo, 10, 0, ""},
		{time.Second, 90, "m", "a", slog.LevelInfo, 0, 0, ""},
		{time.Second, 3, "m", "b", slog.LevelInfo, 3, 0, ""},      // about something else
		{time.Second, 3, "n", "a", slog.LevelInfo, 3, 0, ""},      // another message
		{time.Second, 12, "m", "a", slog.LevelError, 10, 0, ""},   // an error is not hidden by information
		{59 * time.Second, 5, "m", "a", slog.LevelInfo, 0, 0, ""}, // its minute is not over
		{60 * time.Second, 11, "m", "a", slog.LevelInfo, 10, 95, "a"},
		{3 * time.Hour, 1, "other", "c", slog.LevelInfo, 1, 0, ""}, // 2 and 1 are told by the timer, see over
	} {
		written, told := r.offer(step.lines, step.level, step.msg, step.topic, noon.Add(step.after))
		if written != step.written {
			t.Errorf("after %v %d of %d lines %q were written, want %d", step.after, written, step.lines, step.msg, step.written)
		}
		if (step.left > 0) != (len(told) > 0) || len(told) > 0 && (told[0].lines != step.left || told[0].attrs[0].Value.String() != step.leftOfTopic) {
			t.Errorf("after %v told %+v, want %d lines of topic %q left out", step.after, told, step.left, step.leftOfTopic)
		}
	}
	told := r.over(noon.Add(4 * time.Hour))
	if len(told) != 2 || told[0].level != slog.LevelError || told[0].lines != 2 || told[1].lines != 1 || len(r.windows) != 0 {
		t.Errorf("at the end %+v, want 2 errors and 1 other; and %d windows are left, want 0", told, len(r.windows))
	}
	if told := r.over(noon.Add(5 * time.Hour)); told != nil {
		t.Errorf("told again: %+v", told)
	}
}

// Whoever makes up names fills no memory, and hides no error of another kind.
func TestManyKindsOfLinesTakeBoundedMemory(t *testing.T) {
	r := new(repeats)
	written := 0
	for i := range 30_000 {
		n, _ := r.offer(1, slog.LevelInfo, "topic created", fmt.Sprint("t", i), noon)
		written += n
	}
	if written != mostKinds+mostAlike || len(r.windows) != mostKinds+1 {
		t.Errorf("%d lines were written, want %d; %d windows, want %d", written, mostKinds+mostAlike, len(r.windows), mostKinds+1)
	}
	if n, _ := r.offer(1, slog.LevelError, "the disk fails", "t", noon); n != 1 {
		t.Error("an error is hidden by other lines")
	}
	left := 0
	for _, o := range r.over(noon.Add(period)) {
		left += o.lines
	}
	if left != 30_000-written {
		t.Errorf("%d lines were told to be left out, want %d", left, 30_000-written)
	}
	if n, _ := r.offer(1, slog.LevelInfo, "topic created", "new", noon.Add(period)); n != 1 || len(r.windows) != 1 {
		t.Errorf("a minute later %d of 1 line is written, and there are %d windows", n, len(r.windows))
	}
	for i := range 30_000 { // messages are constants; but if they were not
		r.offer(1, slog.LevelInfo, fmt.Sprint("m", i), "t", noon.Add(period))
	}
	if len(r.windows) > 2*mostKinds+5 {
		t.Errorf("%d windows", len(r.windows))
	}
}

func TestNextIsTheFirstWindowWithSomethingToTell(t *testing.T) {
	r := new(repeats)
	if _, any := r.next(); any {
		t.Error("there is something to tell of nothing")
	}
	r.offer(1, slog.LevelInfo, "first", "a", noon)
	if _, any := r.next(); any {
		t.Error("there is something to tell, and nothing was left out")
	}
	r.offer(mostAlike+1, slog.LevelInfo, "third", "a", noon.Add(2*time.Second))
	r.offer(mostAlike+1, slog.LevelInfo, "second", "a", noon.Add(time.Second))
	if first, any := r.next(); !any || !first.Equal(noon.Add(time.Second+period)) {
		t.Errorf("first %v, want %v", first, noon.Add(time.Second+period))
	}
}
