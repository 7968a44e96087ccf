package script

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A word is a part of a line: bare, or a quoted string.
type word struct {
	text   string // unquoted
	quoted bool
	at     int // where it begins in the line
}

// words takes a line being parsed apart, from left to right.
type words struct {
	line string
	list []word
}

// split cuts a line at spaces that are not within quotes. A quoted string may be
// multiplied: "x"*1000.
func split(line string) (words, error) {
	w := words{line: line}
	for at := 0; at < len(line); {
		if line[at] == ' ' {
			at++
			continue
		}
		next, end, err := cut(line, at)
		if err != nil {
			return w, err
		}
		w.list = append(w.list, next)
		at = end
	}
	return w, nil
}

func cut(line string, at int) (word, int, error) {
	end := at
	for end < len(line) && line[end] != ' ' {
		if line[end] != '"' {
			end++
			continue
		}
		q, err := strconv.QuotedPrefix(line[end:])
		if err != nil {
			return word{}, 0, fmt.Errorf("no closing quote for %s", line[end:])
		}
		end += len(q)
	}
	raw := line[at:end]
	if raw[0] != '"' {
		return word{text: raw, at: at}, end, nil
	}
	text, err := unquote(raw)
	return word{text: text, quoted: true, at: at}, end, err
}

// unquote reads "text" or "text"*count.
func unquote(raw string) (string, error) {
	q, err := strconv.QuotedPrefix(raw)
	if err != nil {
		return "", err
	}
	text, err := strconv.Unquote(q)
	if err != nil || len(q) == len(raw) {
		return text, err
	}
	count, err := strconv.Atoi(strings.TrimPrefix(raw[len(q):], "*"))
	if err != nil || count < 0 || count > 64<<20 {
		return "", fmt.Errorf("%s is neither a string nor a string and how often", raw)
	}
	return strings.Repeat(text, count), nil
}

// next takes the next word; "" at the end.
func (w *words) next() string {
	if len(w.list) == 0 {
		return ""
	}
	text := w.list[0].text
	w.list = w.list[1:]
	return text
}

// is takes the next word if it is the bare word given.
func (w *words) is(bare string) bool {
	if len(w.list) == 0 || w.list[0].quoted || w.list[0].text != bare {
		return false
	}
	w.list = w.list[1:]
	return true
}

// rest takes everything that is left, as it was written.
func (w *words) rest() string {
	if len(w.list) == 0 {
		return ""
	}
	text := w.line[w.list[0].at:]
	w.list = nil
	return text
}

func (w *words) end() error {
	if len(w.list) > 0 {
		return fmt.Errorf("what does %q mean here?", w.rest())
	}
	return nil
}

// bodies takes quoted strings, and ranges such as 1..200, which stand for "1" to "200".
func (w *words) bodies() (list []string) {
	for len(w.list) > 0 {
		first := w.list[0]
		from, to, isRange := span(first)
		if !first.quoted && !isRange {
			break
		}
		if first.quoted {
			list = append(list, first.text)
		}
		for i := from; isRange && i <= to; i++ {
			list = append(list, strconv.Itoa(i))
		}
		w.list = w.list[1:]
	}
	return list
}

func span(w word) (from, to int, ok bool) {
	a, b, ok := strings.Cut(w.text, "..")
	if w.quoted || !ok {
		return 0, 0, false
	}
	from, err1 := strconv.Atoi(a)
	to, err2 := strconv.Atoi(b)
	return from, to, err1 == nil && err2 == nil && from <= to && to < 1e6
}

func (w *words) body() (string, error) {
	if len(w.list) == 0 || !w.list[0].quoted {
		return "", errors.New("a message in quotes is missing")
	}
	return w.next(), nil
}

func (w *words) number() (int, error) {
	n, err := strconv.Atoi(w.next())
	if err != nil || n < 0 {
		return 0, errors.New("a number is missing")
	}
	return n, nil
}

func (w *words) duration() (time.Duration, error) {
	d, err := time.ParseDuration(w.next())
	if err != nil || d < 0 {
		return 0, errors.New("a time such as 100ms is missing")
	}
	return d, nil
}

// settings takes key=value words.
func (w *words) settings() (list []Setting, err error) {
	for len(w.list) > 0 && !w.list[0].quoted {
		key, value, ok := strings.Cut(w.list[0].text, "=")
		if !ok || key == "" || strings.ContainsAny(key, "<>") {
			break
		}
		if strings.HasPrefix(value, `"`) {
			if value, err = unquote(value); err != nil {
				return nil, err
			}
		}
		list = append(list, Setting{key, value})
		w.list = w.list[1:]
	}
	return list, nil
}

// setting takes key=value, if the next word is one with this key.
func (w *words) setting(key string) (value string, ok bool, err error) {
	if len(w.list) == 0 || w.list[0].quoted || !strings.HasPrefix(w.list[0].text, key+"=") {
		return "", false, nil
	}
	value = strings.TrimPrefix(w.next(), key+"=")
	if strings.HasPrefix(value, `"`) {
		value, err = unquote(value)
	}
	return value, true, err
}

// timeout takes timeout=…, if it is next.
func (w *words) timeout() (time.Duration, error) {
	value, ok, err := w.setting("timeout")
	if !ok || err != nil {
		return 0, err
	}
	return time.ParseDuration(value)
}
