package trouble

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// count writes a number as people read it: 48,000.
func count[N int | int64 | uint64](n N) string {
	digits := strconv.FormatUint(uint64(max(n, 0)), 10)
	if len(digits) <= 3 {
		return digits
	}
	var b strings.Builder
	for i, d := range []byte(digits) {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteByte(d)
	}
	return b.String()
}

// counted is a number of things: 1 consumer, 3 consumers.
func counted[N int | int64 | uint64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return count(n) + " " + thing + "s"
}

// rate is messages per second, with as many digits as mean something. A slow one is
// told per minute.
func rate(perSecond float64) string {
	switch {
	case perSecond >= 10:
		return count(int64(perSecond+0.5)) + " a second"
	case perSecond >= 1:
		return strconv.FormatFloat(perSecond, 'f', 1, 64) + " a second"
	case perSecond <= 0:
		return "none"
	default:
		return strconv.FormatFloat(perSecond*60, 'g', 2, 64) + " a minute"
	}
}

// age is a length of time in its largest unit that says enough: 40 s, 12 min, 5 h, 3 d.
func age(d time.Duration) string {
	switch {
	case d < time.Second:
		return "1 s"
	case d < 2*time.Minute:
		return strconv.Itoa(int(d.Seconds())) + " s"
	case d < 2*time.Hour:
		return strconv.Itoa(int(d.Minutes())) + " min"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d.Hours())) + " h"
	default:
		return strconv.Itoa(int(d.Hours()/24)) + " d"
	}
}

// moment is a time of day, with its date if that is another one.
func moment(t, now time.Time) string {
	t, now = t.UTC(), now.UTC()
	if t.Year() == now.Year() && t.YearDay() == now.YearDay() {
		return t.Format("15:04 UTC")
	}
	return t.Format("2 January 2006 15:04 UTC")
}

// size is a number of bytes: 1.9 GB.
func size(n uint64) string {
	const units = "kMGTPE"
	if n < 1000 {
		return counted(n, "byte")
	}
	v, u := float64(n)/1000, 0
	for ; v >= 999.5; u++ {
		v /= 1000
	}
	digits := 1
	if v >= 99.5 {
		digits = 0
	}
	return strconv.FormatFloat(v, 'f', digits, 64) + " " + units[u:u+1] + "B"
}

// share is a part in percent.
func share(part float64) string {
	if p := part * 100; p < 9.95 {
		return strconv.FormatFloat(p, 'f', 1, 64) + " %"
	}
	return strconv.FormatFloat(part*100, 'f', 0, 64) + " %"
}

// names lists a few names, and how many more there are.
func names(list []string) string {
	const most = 3
	if len(list) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
	}
	if n := len(list); n > 1 {
		return strings.Join(list[:n-1], ", ") + " and " + list[n-1]
	}
	return strings.Join(list, "")
}

// foreign is text that a daemon or a person wrote: on one line, not long, and without
// what turns the line round or cannot be seen.
func foreign(text string) string {
	const most = 300
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	text = strings.Join(strings.Fields(text), " ")
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return utf8.RuneError
	}, text)
}
