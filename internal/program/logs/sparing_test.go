package logs

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace-mq/millrace/internal/logtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A client that comes again and again gets ten lines a minute, whatever its address; how
// many were left out is told without another one.
func TestALoopIsToldInFewLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said logtest.Lines
		log := New(&said, Text, slog.LevelInfo, "").With("daemon", "qd")
		for i := range 1000 {
			log.With("client", fmt.Sprintf("192.0.2.1:%d", i)).Warn("connection closed after an error", "error", "E_INVALID")
			time.Sleep(time.Millisecond)
		}
		log.Error("the disk fails", "file", "/a")
		if n := strings.Count(said.String(), "closed after an error"); n != mostAlike {
			t.Errorf("%d lines, want %d", n, mostAlike)
		}
		time.Sleep(period)
		synctest.Wait()
		want := `level=WARN msg="lines like this were left out" like="connection closed after an error" unlogged=990 daemon=qd`
		if !strings.HasSuffix(strings.TrimSpace(said.String()), want) {
			t.Errorf("it ends with %q, want %q", last(said.String()), want)
		}
		if strings.Count(said.String(), "the disk fails") != 1 {
			t.Error("an error is hidden")
		}
		time.Sleep(10 * period)
		if n := strings.Count(said.String(), "left out"); n != 1 {
			t.Errorf("that lines were left out was told %d times", n)
		}
	})
}

// An error that comes again and again, from another port each time, does not hide another
// one with the same message; but errors that differ each time are bounded, too.
func TestAHotErrorHidesNoOther(t *testing.T) {
	var said logtest.Lines
	log := New(&said, Text, slog.LevelInfo, "")
	for i := range 1000 {
		log.Error("cannot write", "file", "/a", "error", fmt.Errorf("192.0.2.1:%d: no space left", i))
	}
	log.Error("cannot write", "file", "/a", "error", errors.New("input/output error"))
	log.Error("cannot write", "file", "/a", "error", errors.New("input/output error"))
	if n := strings.Count(said.String(), "no space left"); n != mostAlike {
		t.Errorf("the hot one has %d lines, want %d", n, mostAlike)
	}
	if n := strings.Count(said.String(), "input/output error"); n != 1 {
		t.Errorf("the other one has %d lines, want 1", n)
	}
	for i := range 1000 {
		log.Error("cannot write", "file", "/a", "error", strings.Repeat("x", i))
	}
	if n := strings.Count(said.String(), "\n"); n != mostCauses {
		t.Errorf("%d lines in all, want %d", n, mostCauses)
	}
}

func last(said string) string {
	lines := strings.Split(strings.TrimSpace(said), "\n")
	return lines[len(lines)-1]
}

func TestWhatIsBelowInfoIsNotBounded(t *testing.T) {
	var said logtest.Lines
	log := New(&said, Text, slog.LevelDebug, "")
	for range 100 {
		log.Debug("connected")
	}
	if n := strings.Count(said.String(), "\n"); n != 100 {
		t.Errorf("%d lines, want 100", n)
	}
}

// Topics, files and so on tell lines apart, those of With and those of groups' insides too.
func TestLinesAboutSeveralThingsAreNotAlike(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said logtest.Lines
		o := NewOutlet(&said)
		log := New(o, JSON, slog.LevelInfo, "")
		for i := range 5 {
			of := log.With("topic", fmt.Sprint("t", i))
			for range 20 {
				of.Info("channel created", "channel", "c")
				of.WithGroup("g").Info("in a group", "channel", fmt.Sprint("c", i))
			}
		}
		if n := strings.Count(said.String(), `"channel created"`); n != 5*mostAlike {
			t.Errorf("%d lines, want %d", n, 5*mostAlike)
		}
		o.Close() // tells at once
		if n := strings.Count(said.String(), `"like":"channel created","unlogged":10,"topic":"t`); n != 5 {
			t.Errorf("at the end %d lines say what was left out, want 5:\n%s", n, said.String())
		}
	})
}
