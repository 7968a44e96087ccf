package archive

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// layouts maps the letters of strftime to time.Format's layouts.
var layouts = map[byte]string{
	'A': "Monday", 'a': "Mon", 'B': "January", 'b': "Jan", 'm': "01", 'd': "02",
	'H': "15", 'I': "03", 'M': "04", 'S': "05", 'Y': "2006", 'y': "06",
	'p': "PM", 'Z': "MST", 'z': "-0700",
}

// checkStrftime reports what appendStrftime could not render.
func checkStrftime(format string) error {
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			continue
		}
		i++
		if i == len(format) {
			return errors.New("ends with a lone % (write %% for a percent sign)")
		}
		if _, ok := layouts[format[i]]; !ok && format[i] != '%' {
			return fmt.Errorf("%%%c is unknown: the letters are A a B b m d H I M S Y y p Z z and %%", format[i])
		}
	}
	return nil
}

// shapes are what each letter may be rendered as.
var shapes = map[byte]string{
	'A': "[A-Z][a-z]+", 'a': "[A-Z][a-z]+", 'B': "[A-Z][a-z]+", 'b': "[A-Z][a-z]+",
	'Y': "[0-9]{4,}", 'p': "[AP]M", 'Z': "[A-Za-z0-9+-]+", 'z': "[+-][0-9]{4}",
}

// matchStrftime returns a regular expression for what appendStrftime renders.
func matchStrftime(format string) string {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteString(regexp.QuoteMeta(format[i : i+1]))
			continue
		}
		i++
		switch shape, ok := shapes[format[i]]; {
		case ok:
			b.WriteString(shape)
		case layouts[format[i]] != "":
			b.WriteString("[0-9]{2}")
		default:
			b.WriteString(regexp.QuoteMeta(format[i : i+1]))
		}
	}
	return b.String()
}

// appendStrftime appends t as format says. Each letter is rendered alone, so
// that text in the format is never taken for a layout of time.Format's, such
// as a literal 2 or Jan.
func appendStrftime(dst []byte, format string, t time.Time) []byte {
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			dst = append(dst, format[i])
			continue
		}
		i++
		if layout, ok := layouts[format[i]]; ok {
			dst = t.AppendFormat(dst, layout)
		} else {
			dst = append(dst, format[i])
		}
	}
	return dst
}
