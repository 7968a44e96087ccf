package board_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/apps/stat/board"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// press types keys as a terminal sends them, and returns what the last one asked for.
func press(st *board.State, sent string) board.Wish {
	wish := board.Nothing
	for _, k := range board.Keys([]byte(sent)) {
		wish = st.Press(k)
	}
	return wish
}

func draw(st *board.State, s *board.Sample, columns, rows int) string {
	return strings.Join(st.Draw(s, board.Size{Columns: columns, Rows: rows}, 2*time.Second, board.Plain), "\n") + "\n"
}

func TestDraw(t *testing.T) {
	s := shop()
	for _, c := range []struct {
		file          string
		keys          string
		columns, rows int
		sample        *board.Sample
	}{
		{"screen-wide.txt", "", 150, 14, s},
		{"screen-80.txt", "", 80, 14, s},
		{"screen-narrow.txt", "", 40, 9, s},
		{"screen-typing.txt", "s/ship", 100, 10, s},
		{"screen-filtered.txt", "/ship\r", 100, 10, s},
		{"screen-nothing.txt", "/nowhere\r", 100, 10, s},
		{"screen-help.txt", "?", 100, 18, s},
		{"screen-asking.txt", "", 80, 5, nil},
		{"screen-empty.txt", "", 80, 8, board.NewGauge(board.Only{}).Sample(snapshot(start))},
	} {
		var st board.State
		press(&st, c.keys)
		golden(t, c.file, draw(&st, c.sample, c.columns, c.rows))
	}
}

// Whatever the size, a screen has as many lines as there are rows, and none is too long:
// one that wraps moves all others.
func TestDrawFits(t *testing.T) {
	s := shop()
	for columns := 20; columns < 200; columns += 7 {
		for rows := 5; rows < 40; rows += 3 {
			var st board.State
			lines := st.Draw(s, board.Size{Columns: columns, Rows: rows}, time.Second, board.Plain)
			if len(lines) != rows {
				t.Fatalf("%d by %d: %d lines", columns, rows, len(lines))
			}
			for _, l := range lines {
				if utf8.RuneCountInString(l) > columns || strings.ContainsAny(l, "\x1b\n\r") {
					t.Fatalf("%d by %d: %q", columns, rows, l)
				}
			}
		}
	}
}

func TestColours(t *testing.T) {
	var st board.State
	text := strings.Join(st.Draw(shop(), board.Size{Columns: 120, Rows: 20}, time.Second, board.Colours), "\n")
	for _, want := range []string{"\x1b[31m! qd-c:4151", "\x1b[33m* orders/ship", "\x1b[2m- audit", "\x1b[7m  TOPIC/CHANNEL"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in %q", want, text)
		}
	}
	if strings.Contains(text, "\x1b[2J") {
		t.Error("what a daemon has said clears the screen")
	}
}

func TestKeys(t *testing.T) {
	for sent, want := range map[string][]board.Key{
		"qS/":                  {"q", "S", "/"},
		"\x1b[A\x1b[B\x1bOA":   {board.Up, board.Down, board.Up},
		"\x1b[5~\x1b[6~":       {board.PageUp, board.PageDown},
		"\x1b[H\x1b[4~":        {board.Home, board.End},
		"\x1b":                 {board.Escape},
		"\x1b[1;5Cq":           {"q"}, // Ctrl-right is none of ours
		"\x03":                 {board.Interrupt},
		"\x7f\b\r\n":           {board.Backspace, board.Backspace, board.Enter, board.Enter},
		"é\x00\xff\u200b":      {"é"},
		"\x1b[":                nil,
		"\x1b[200~q\x1b[201~x": {"q", "x"},
	} {
		if got := board.Keys([]byte(sent)); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", sent, got, want)
		}
	}
}

func TestPress(t *testing.T) {
	for sent, want := range map[string]board.Wish{
		"q": board.Quit, "\x03": board.Quit, "/abc\x03": board.Quit, "?\x03": board.Quit,
		" ": board.Refresh, "r": board.Refresh,
		"/q": board.Nothing, "?q": board.Nothing, "x": board.Nothing, "s": board.Nothing,
		"/a\rq": board.Quit, "/a\x1bq": board.Quit, "?xq": board.Quit,
	} {
		var st board.State
		if got := press(&st, sent); got != want {
			t.Errorf("%q asks for %d, want %d", sent, got, want)
		}
	}
}

// Typing a filter: it counts while it is typed; Enter keeps it, Escape brings back the one
// before.
func TestFilter(t *testing.T) {
	s := shop()
	for sent, want := range map[string][]string{
		"/ship":              {"orders/ship"},
		"/shop\x7f\x7fip":    {"orders/ship"},
		"/ship\r/arch\x1b":   {"orders/ship"},
		"/ship\r\x1bsss":     {"orders/ship", "orders/archive", "audit"},
		"/\x7f\x7farchive\r": {"orders/archive"},
	} {
		var st board.State
		press(&st, sent)
		text := draw(&st, s, 100, 20)
		for _, name := range []string{"orders/ship", "orders/archive", "audit"} {
			if got := strings.Contains(text, " "+name+" "); got != slices.Contains(want, name) {
				t.Errorf("%q: %s is shown: %v, in\n%s", sent, name, got, text)
			}
		}
	}
}

func TestScroll(t *testing.T) {
	s := &board.Sample{At: start, Nodes: []*fleet.Node{{Address: "a:1", Up: true}}}
	for i := range 30 {
		s.Rows = append(s.Rows, board.Row{Topic: "t", Channel: fmt.Sprintf("c%02d", i)})
	}
	var st board.State
	st.SortBy("name")
	for _, step := range []struct{ sent, first, last string }{
		{"", "c00", "c15"}, {"j", "c01", "c16"}, {"\x1b[6~", "c14", "c29"}, {"\x1b[6~", "c14", "c29"},
		{"\x1b[A", "c13", "c28"}, {"g", "c00", "c15"}, {"k", "c00", "c15"}, {"G", "c14", "c29"}, {"/c2\r", "c20", "c29"},
	} {
		press(&st, step.sent)
		var shown []string
		for line := range strings.Lines(draw(&st, s, 80, 20)) {
			if name, found := strings.CutPrefix(line, "  t/"); found {
				shown = append(shown, name[:3])
			}
		}
		if len(shown) == 0 || shown[0] != step.first || shown[len(shown)-1] != step.last {
			t.Errorf("after %q: %v, want %s to %s", step.sent, shown, step.first, step.last)
		}
	}
}
