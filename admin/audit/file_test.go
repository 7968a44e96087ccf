package audit_test

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/internal/logtest"
)

func path(t *testing.T) string { return filepath.Join(t.TempDir(), "audit.jsonl") }

// read returns the entries that the file's lines are.
func read(t *testing.T, path string) (entries []audit.Entry) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var e audit.Entry
		if err := json.Unmarshal([]byte(line), &e); err != nil || !strings.HasSuffix(line, "\n") {
			t.Errorf("line %q: %v", line, err)
		}
		entries = append(entries, e)
	}
	return entries
}

func TestFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := path(t)
		r := start(t, audit.Settings{File: file})
		r.act(audit.Entry{Who: "anna", Action: "pause-topic", Detail: "<b>&\n\xff"}, audit.Result{Node: "q1", OK: true})
		r.Begin(audit.Entry{Who: "carl", Action: "delete-topic", Refused: "a viewer"})
		synctest.Wait()
		got := read(t, file)
		if len(got) != 2 || got[0].Detail != "<b>&\n\ufffd" || !got[0].Done || got[0].Results[0].Node != "q1" || got[1].Refused != "a viewer" {
			t.Errorf("the file has %+v", got)
		}
		if info, _ := os.Stat(file); info.Mode().Perm() != 0o600 {
			t.Errorf("the file's mode is %v", info.Mode())
		}
		// One that takes long is there before its end, and one that never ends at the end.
		slow, never := r.Begin(audit.Entry{Action: "drain-node"}), r.Begin(audit.Entry{Action: "revive"})
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if got = read(t, file)[2:]; len(got) != 2 || got[0].Done || got[1].Done {
			t.Errorf("after three seconds the file has %+v", got)
		}
		r.End(slow)
		late := r.Begin(audit.Entry{Action: "late"})
		r.stop()
		got = read(t, file)[4:]
		if len(got) != 2 || got[0].Number != slow || !got[0].Done || got[1].Number != late || got[1].Done {
			t.Errorf("at the end the file has %+v", got)
		}

		// The next process knows them all, and goes on counting.
		r = start(t, audit.Settings{File: file})
		defer r.stop()
		all := r.List(audit.Filter{})
		if got := numbers(all); !slices.Equal(got, []uint64{late, never, slow, 2, 1}) {
			t.Errorf("read back: %v", got)
		}
		for _, e := range all {
			if !e.Done || e.Interrupted != (e.Number == never || e.Number == late) {
				t.Errorf("read back: %+v", e)
			}
		}
		if number := r.Begin(audit.Entry{}); number != late+1 {
			t.Errorf("the next number is %d", number)
		}
	})
}

func TestReadingBack(t *testing.T) {
	entry := func(number, done string) string {
		return `{"number":` + number + `,"action":"a","done":` + done + "}\n"
	}
	for _, tt := range []struct {
		name, text string
		keep       int
		want       []uint64 // the latest first
		strange    bool     // there is a line about it
	}{
		{"empty", "", 0, nil, false},
		{"whole", entry("1", "true") + entry("2", "true"), 0, []uint64{2, 1}, false},
		{"the last of them", entry("1", "true") + entry("2", "true") + entry("3", "true"), 2, []uint64{3, 2}, false},
		{"versions", entry("1", "false") + entry("2", "true") + entry("1", "true"), 0, []uint64{2, 1}, false},
		{"torn", entry("1", "true") + `{"number":2,"act`, 0, []uint64{1}, false},
		{"torn in the midst", entry("1", "true") + `{"number":2,"act` + "\n" + entry("3", "true"), 0, []uint64{3, 1}, true},
		{"no entries", "hello\n[1]\n\n{}\n\x00\xff\n" + entry("0", "true") + entry("7", "true"), 0, []uint64{7}, true},
		{"absurd numbers", entry("18446744073709551615", "true") + entry("-1", "true") + entry("4", "true"), 0, []uint64{4}, true},
		{"a line beyond all measure", `{"number":1,"who":"` + strings.Repeat("x", 3<<20) + "\"}\n" + entry("2", "true"), 0, []uint64{2}, true},
		{"more than is looked at", entry("1", "true") + strings.Repeat(entry("2", "true"), 1000) + entry("3", "true"), 2, []uint64{3, 2}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := path(t)
			if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			var said logtest.Lines
			l, err := audit.New(audit.Settings{File: file, Keep: tt.keep}, slog.New(slog.NewTextHandler(&said, nil)))
			if err != nil {
				t.Fatal(err)
			}
			if got := numbers(l.List(audit.Filter{})); !slices.Equal(got, tt.want) {
				t.Errorf("read back: %v, want %v", got, tt.want)
			}
			if got := strings.Count(said.String(), "\n"); (got == 1) != tt.strange || got > 1 {
				t.Errorf("said: %q", said.String())
			}
		})
	}
}

// A line that was torn does not spoil the next.
func TestAppendingToATornLine(t *testing.T) {
	file := path(t)
	if err := os.WriteFile(file, []byte(`{"number":1,"done":true}`+"\n"+`{"number":2,"act`), 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, audit.Settings{File: file})
	r.act(audit.Entry{Action: "pause-topic"})
	r.stop()
	r = start(t, audit.Settings{File: file})
	if got := numbers(r.List(audit.Filter{})); !slices.Equal(got, []uint64{2, 1}) {
		t.Errorf("read back: %v", got)
	}
}

func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := path(t)
		r := start(t, audit.Settings{File: file})
		defer r.stop()
		first := r.act(audit.Entry{})
		synctest.Wait()
		if err := os.Rename(file, file+".1"); err != nil {
			t.Fatal(err)
		}
		second := r.act(audit.Entry{})
		synctest.Wait()
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		third := r.act(audit.Entry{})
		synctest.Wait()
		if old, now := read(t, file+".1"), read(t, file); len(old) != 1 || old[0].Number != first || len(now) != 1 || now[0].Number != third {
			t.Errorf("before: %+v, now: %+v; %d was in between", old, now, second)
		}
	})
}

// While a file cannot be written nothing else stops, there is a line a minute, and
// afterwards all is written.
func TestAFileThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := path(t)
		r := start(t, audit.Settings{File: file})
		defer r.stop()
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(file, 0o700); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second / 2) // so that none is under way when it is looked which are
		for range 300 {
			r.act(audit.Entry{Action: "pause-topic"})
			time.Sleep(time.Second)
		}
		if n := strings.Count(r.said.String(), "audit entries wait"); n < 4 || n > 10 {
			t.Errorf("%d lines in five minutes: %s", n, r.said.String())
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := read(t, file); len(got) != 300 || got[0].Number != 1 || got[299].Number != 300 {
			t.Errorf("%d entries were written", len(got))
		}
	})
}

func TestAFullDisk(t *testing.T) {
	full := "/dev/full"
	if info, err := os.Stat(full); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		t.Skip("needs Linux's /dev/full")
	}
	synctest.Test(t, func(t *testing.T) {
		r := start(t, audit.Settings{File: full})
		for range 5000 {
			r.act(audit.Entry{})
		}
		time.Sleep(10 * time.Second)
		r.stop()
		said := r.said.String()
		if strings.Count(said, "audit entries wait") != 1 || !strings.Contains(said, syscall.ENOSPC.Error()) ||
			!strings.Contains(said, "count=5000") {
			t.Errorf("said: %s", said)
		}
	})
}
