package board

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Key is what somebody has typed: a printable letter as itself, or a name.
type Key string

// Names of keys.
const (
	Escape    Key = "escape"
	Enter     Key = "enter"
	Backspace Key = "backspace"
	Interrupt Key = "ctrl-c"
	Up        Key = "up"
	Down      Key = "down"
	PageUp    Key = "page-up"
	PageDown  Key = "page-down"
	Home      Key = "home"
	End       Key = "end"
)

// sequences are what terminals send for keys without a letter, after an escape.
var sequences = map[string]Key{
	"[A": Up, "[B": Down, "OA": Up, "OB": Down, "[5~": PageUp, "[6~": PageDown,
	"[H": Home, "[F": End, "OH": Home, "OF": End, "[1~": Home, "[4~": End,
}

// Keys are the keys of what a terminal has sent in one piece. What it does not know it
// leaves out.
func Keys(sent []byte) (keys []Key) {
	for len(sent) > 0 {
		r, n := utf8.DecodeRune(sent)
		switch {
		case r == 0x1b && len(sent) > 1 && (sent[1] == '[' || sent[1] == 'O'):
			n = sequence(sent)
			if k, ok := sequences[string(sent[1:n])]; ok {
				keys = append(keys, k)
			}
		case r == 0x1b:
			keys = append(keys, Escape)
		case r == '\r' || r == '\n':
			keys = append(keys, Enter)
		case r == 0x7f || r == 0x08:
			keys = append(keys, Backspace)
		case r == 0x03:
			keys = append(keys, Interrupt)
		case unicode.IsPrint(r) && r != utf8.RuneError:
			keys = append(keys, Key(string(r)))
		}
		sent = sent[n:]
	}
	return keys
}

// sequence is how long the escape sequence is that sent begins with.
func sequence(sent []byte) int {
	for i := 2; i < len(sent); i++ {
		if sent[i] >= 0x40 && sent[i] <= 0x7e {
			return i + 1
		}
	}
	return len(sent)
}

// State is what somebody who looks at the screen has chosen. The zero State is that of one
// who has not touched a key.
type State struct {
	order   int // in Orders
	filter  string
	typing  bool   // a filter
	before  string // the filter before somebody began to type
	top     int    // the first row that is shown
	page    int    // rows that fit; as drawn last
	helping bool
}

// What a key asks the program for.
type Wish int

// The wishes.
const (
	Nothing Wish = iota
	Quit
	Refresh // ask the daemons now
)

// Press takes a key.
func (st *State) Press(k Key) Wish {
	if k == Interrupt {
		return Quit
	}
	if st.typing {
		st.edit(k)
		return Nothing
	}
	if st.helping {
		st.helping = false
		return Nothing
	}
	switch k {
	case "q":
		return Quit
	case " ", "r":
		return Refresh
	case "s":
		st.order, st.top = (st.order+1)%len(Orders), 0
	case "S":
		st.order, st.top = (st.order+len(Orders)-1)%len(Orders), 0
	case "/":
		st.typing, st.before = true, st.filter
	case Escape:
		st.filter, st.top = "", 0
	case "?", "h":
		st.helping = true
	default:
		st.scroll(k)
	}
	return Nothing
}

func (st *State) scroll(k Key) {
	moves := map[Key]int{
		Up: -1, "k": -1, Down: 1, "j": 1, PageUp: -st.page, PageDown: st.page,
		Home: -1 << 30, "g": -1 << 30, End: 1 << 30, "G": 1 << 30,
	}
	st.top = max(0, st.top+moves[k])
}

func (st *State) edit(k Key) {
	st.top = 0
	switch k {
	case Enter:
		st.typing = false
	case Escape:
		st.typing, st.filter = false, st.before
	case Backspace:
		_, n := utf8.DecodeLastRuneInString(st.filter)
		st.filter = st.filter[:len(st.filter)-n]
	default:
		if utf8.RuneCountInString(string(k)) == 1 && len(st.filter) < 200 {
			st.filter += string(k)
		}
	}
}

// SortBy chooses what rows are sorted by. It reports whether there is such an order.
func (st *State) SortBy(o Order) bool {
	i := slices.Index(Orders, o)
	st.order = max(i, 0)
	return i >= 0
}

// orders are all orders, with the one that is chosen in brackets.
func (st *State) orders() string {
	var all []string
	for i, o := range Orders {
		if i == st.order {
			o = "[" + o + "]"
		}
		all = append(all, string(o))
	}
	return strings.Join(all, " ")
}
