package logs

import (
	"cmp"
	"hash/maphash"
	"log/slog"
	"slices"
	"strings"
	"time"
)

const (
	period = time.Minute
	// mostAlike lines are written in a period: enough to see what happens and how fast.
	mostAlike = 10
	// mostCauses is how many are written in all if what went wrong is another thing each
	// time: an error that comes again and again does not hide another one.
	mostCauses = 20
	// mostKinds of lines are told apart at a time. Beyond them, all others are one kind:
	// clients choose names, and memory is not theirs.
	mostKinds = 512
)

// telling are the keys whose values tell lines with one message apart: what they are
// about, and not who has caused them, for whoever does can come with another address.
var telling = map[string]bool{"daemon": true, "topic": true, "channel": true, "node": true, "lookupd": true, "file": true, "endpoint": true, "server": true, "method": true}

// wrong are the keys whose values say what went wrong. Clients may have chosen words of
// them, so they make no kind of its own.
var wrong = map[string]bool{"error": true, "panic": true, "code": true, "reason": true}

// cause is a hash of what went wrong; zero: nothing has.
type cause uint64

var seed = maphash.MakeSeed()

// causeOf is the cause that is told in text. Digits are passed over: ports and numbers
// differ each time.
func causeOf(text string) cause {
	var h maphash.Hash
	h.SetSeed(seed)
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			_ = h.WriteByte(text[i])
		}
	}
	return cause(h.Sum64())
}

// kind is what lines that are alike have in common.
type kind struct {
	level slog.Level
	msg   string
	about string // the values of the keys that tell
}

// kindOf is the kind of a line about something.
func kindOf(level slog.Level, msg string, about []slog.Attr) kind {
	var b strings.Builder
	for _, a := range about {
		b.WriteString(a.Key + "\x00" + cut(told(a.Value.Any()), 256) + "\x00")
	}
	return kind{level, msg, b.String()}
}

// others is what lines of a level are when there are even too many messages. Messages are
// constants, so that does not happen; but memory is not to depend on it.
func others(level slog.Level) kind { return kind{level: level, msg: "many other lines"} }

// window is a period of lines of a kind. It begins with the first of them.
type window struct {
	ends   time.Time
	shown  int
	causes []cause // that were shown, each once; at most mostCauses
	left   int     // out, since then
	about  []slog.Attr
}

// shows counts a line with a cause, and reports whether it is to be written.
func (w *window) shows(c cause) bool {
	seen := slices.Contains(w.causes, c)
	if w.shown >= mostCauses || w.shown >= mostAlike && seen {
		w.left++
		return false
	}
	w.shown++
	if !seen {
		w.causes = append(w.causes, c)
	}
	return true
}

// repeats decides which lines are written. It has no clock and no lock: its owner says
// what time it is. The zero repeats has seen nothing.
type repeats struct {
	windows map[kind]*window
	first   time.Time // none ends before
}

// omitted are lines that were left out of a log.
type omitted struct {
	kind
	attrs []slog.Attr
	lines int
}

// admit counts a line of a kind, which is about something and has a cause, and reports
// whether it is to be written. before are lines that were left out until now and have to be told first.
func (r *repeats) admit(k kind, about []slog.Attr, c cause, now time.Time) (yes bool, before []omitted) {
	w := r.windows[k]
	if w != nil && !now.Before(w.ends) || w == nil && len(r.windows) >= mostKinds {
		before = r.over(now)
		w = r.windows[k]
	}
	if w == nil && len(r.windows) >= mostKinds { // of one message, whatever it is about
		k.about, about = "", nil
		w = r.windows[k]
	}
	if w == nil && len(r.windows) >= 2*mostKinds {
		k = others(k.level)
		w = r.windows[k]
	}
	if w == nil {
		w = r.open(k, about, now)
	}
	return w.shows(c), before
}

// open begins a window.
func (r *repeats) open(k kind, about []slog.Attr, now time.Time) *window {
	if r.windows == nil {
		r.windows = make(map[kind]*window)
	}
	w := &window{ends: now.Add(period), about: about}
	if len(r.windows) == 0 || w.ends.Before(r.first) {
		r.first = w.ends
	}
	r.windows[k] = w
	return w
}

// over forgets the windows that have ended by now, and returns what was left out in them.
func (r *repeats) over(now time.Time) (told []omitted) {
	if now.Before(r.first) {
		return nil
	}
	r.first = now.Add(period)
	for k, w := range r.windows {
		if now.Before(w.ends) {
			if w.ends.Before(r.first) {
				r.first = w.ends
			}
			continue
		}
		delete(r.windows, k)
		if w.left > 0 {
			told = append(told, omitted{k, w.about, w.left})
		}
	}
	slices.SortFunc(told, func(a, b omitted) int {
		return cmp.Or(cmp.Compare(b.level, a.level), strings.Compare(a.msg, b.msg), strings.Compare(a.about, b.about))
	})
	return told
}

// next is when the first window ends out of which lines were left; false: none.
func (r *repeats) next() (first time.Time, any bool) {
	for _, w := range r.windows {
		if w.left > 0 && (!any || w.ends.Before(first)) {
			first, any = w.ends, true
		}
	}
	return first, any
}
