package web

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
	"time"
)

// unknown stands for a number that nobody has told us.
const unknown = template.HTML(`<span class="none" title="not known">–</span>`)

// group is n with a comma before every third digit.
func group(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if s[0] == '-' {
		sign, s = "−", s[1:]
	}
	var b strings.Builder
	b.WriteString(sign)
	for i, c := range s {
		if i > 0 && (len(s)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(c)
	}
	return b.String()
}

// whole is v, any integer, as an int64. What is larger than one is shown as the
// largest: nothing of ours counts so far.
func whole(v any) int64 {
	switch v := v.(type) {
	case int:
		return int64(v)
	case int32:
		return int64(v)
	case int64:
		return v
	case uint64:
		return int64(min(v, math.MaxInt64))
	}
	return 0
}

// num shows an integer: all its digits up to ten millions, and from there on short,
// with all of them in its title. A zero is quiet, so that what is not stands out.
func num(v any) template.HTML {
	n := whole(v)
	switch {
	case n == 0:
		return `<span class="zero">0</span>`
	case n > -10_000_000 && n < 10_000_000:
		// #nosec G203 -- digits and times of ours; other text is escaped
		return template.HTML(group(n))
	}
	return titled(short(float64(n)), group(n))
}

func titled(text, title string) template.HTML {
	// #nosec G203 -- digits and times of ours; other text is escaped
	return template.HTML(`<span title="` + template.HTMLEscapeString(title) + `">` + template.HTMLEscapeString(text) + `</span>`)
}

// short is f with three digits and a word for its thousands.
func short(f float64) string {
	sign := ""
	if f < 0 {
		sign, f = "−", -f
	}
	unit := ""
	for _, u := range []string{"k", "M", "G", "T", "P", "E"} {
		if f < 999.5 {
			break
		}
		f /= 1000
		unit = "\u00a0" + u // no line breaks there
	}
	if f >= 999.5 { // nothing that is counted
		return sign + strconv.FormatFloat(f, 'g', 3, 64) + unit
	}
	return sign + digits(f) + unit
}

// digits is a number from 0 to 1000 with three digits.
func digits(f float64) string {
	switch {
	case f == math.Trunc(f) || f >= 99.95:
		return strconv.FormatFloat(f, 'f', 0, 64)
	case f >= 9.995:
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	return strconv.FormatFloat(f, 'f', 2, 64)
}

// rate shows messages per second.
func rate(f float64) template.HTML {
	switch {
	case !isNumber(f) || f < 0:
		return unknown
	case f == 0:
		return `<span class="zero">0</span>`
	}
	return titled(rateText(f), strconv.FormatFloat(f, 'f', -1, 64)+" per second")
}

// rateText is a rate as a word: 0.02, 3.4, 120, 12,300, 1.20 M.
func rateText(f float64) string {
	switch {
	case !isNumber(f) || f < 0:
		return "–"
	case f == 0:
		return "0"
	case f < 0.005:
		return "<0.01"
	case f < 9.95:
		return strings.TrimSuffix(strconv.FormatFloat(f, 'f', 1+b2i(f < 0.95), 64), ".0")
	case f < 999_999.5:
		return group(int64(math.Round(f)))
	}
	return short(f)
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// size shows a number of bytes.
func size(v any) template.HTML {
	n := whole(v)
	return titled(sizeText(n), group(n)+" bytes")
}

// sizeText is a number of bytes with three digits: 512 B, 1.50 KiB, 20.0 GiB.
func sizeText(n int64) string {
	if n < 0 {
		return "–"
	}
	f, unit := float64(n), "B"
	for _, u := range []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"} {
		if f < 999.5 {
			break
		}
		f, unit = f/1024, u
	}
	return digits(f) + " " + unit
}

// lasts is a duration in one or two units: 340 ms, 12 s, 3 min, 2 h 5 min, 4 d.
func lasts(d time.Duration) string {
	switch {
	case d < 0:
		return "–"
	case d == 0:
		return "0"
	case d < time.Millisecond:
		return digits(float64(d)/float64(time.Microsecond)) + " µs"
	case d < time.Second:
		return digits(math.Round(float64(d)/float64(time.Millisecond))) + " ms"
	case d < 10*time.Second:
		return digits(math.Round(d.Seconds()*10)/10) + " s"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		return strings.TrimSuffix(fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute), " 0 min")
	}
	return group(int64(d/(24*time.Hour))) + " d"
}

// dur shows a duration.
func dur(d time.Duration) template.HTML {
	if d < 0 {
		return unknown
	}
	return titled(lasts(d), d.String())
}

// stamp is a moment as a machine reads it.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// clock is a moment as a person reads it; all times of the UI are in UTC, for who
// looks and what is looked at are rarely in one zone.
func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// age shows how long ago a moment was, as of now, or how far it is off.
func age(now, t time.Time) template.HTML {
	if t.IsZero() {
		return unknown
	}
	text := "in " + lasts(t.Sub(now).Round(time.Second))
	if d := now.Sub(t).Round(time.Second); d > 0 {
		text = lasts(d) + " ago"
	} else if d == 0 {
		text = "now"
	}
	// #nosec G203 -- digits and times of ours; other text is escaped
	return template.HTML(fmt.Sprintf(`<time datetime="%s" title="%s">%s</time>`, stamp(t), clock(t), template.HTMLEscapeString(text)))
}

// moment shows a time of day with its date.
func moment(t time.Time) template.HTML {
	if t.IsZero() {
		return unknown
	}
	// #nosec G203 -- digits and times of ours; other text is escaped
	return template.HTML(fmt.Sprintf(`<time datetime="%s">%s</time>`, stamp(t), clock(t)))
}
