// Package body makes of a message's body, which may be anything at all, text that
// people can read: as it is, as indented JSON, or in hexadecimal. What comes out is
// plain text without control characters, in bounded size; nothing of it is HTML.
// It is pure.
package body

import (
	"encoding/hex"
	"net/http"
	"strings"
	"unicode/utf8"
)

// Form is how a body is shown.
type Form string

// The forms, as URLs name them.
const (
	Text Form = "text"
	JSON Form = "json"
	Hex  Form = "hex"
)

// Forms are all of them, in the order in which they are offered.
func Forms() []Form { return []Form{Text, JSON, Hex} }

// ParseForm reads a form's name; false if there is none of that name.
func ParseForm(name string) (Form, bool) {
	switch f := Form(name); f {
	case Text, JSON, Hex:
		return f, true
	}
	return "", false
}

// View is a body as it is shown.
type View struct {
	Form  Form
	Text  string // in lines; no control character but newline and tab
	Kind  string // what it seems to be, in a word or two: JSON, text, gzip, PNG image, binary
	Notes []string
}

// Show shows data, the first bytes of a body or all of it; cut says that there is
// more of it. An empty form is the one that suits what it is.
func Show(data []byte, cut bool, form Form) View {
	if cut {
		data = withoutHalf(data)
	}
	kind := kindOf(data, cut)
	v := View{Form: form, Kind: kind}
	if form == "" {
		v.Form = suits(kind)
	}
	switch v.Form {
	case Hex:
		v.Text = strings.TrimSuffix(hex.Dump(data), "\n")
	case JSON:
		v.json(data)
	default:
		v.Form = Text
		v.text(string(data))
	}
	return v
}

// Line is the beginning of a body in one line of at most limit characters.
func Line(data []byte, cut bool, limit int) string {
	// A character has four bytes at most, so what lies behind cannot be shown.
	if len(data) > 4*limit {
		data, cut = data[:4*limit], true
	}
	if cut {
		data = withoutHalf(data)
	}
	shown, _ := visible(strings.Join(strings.Fields(string(data)), " "))
	n := 0
	for i := range shown {
		if n == limit {
			return shown[:i] + "…"
		}
		n++
	}
	if cut {
		return shown + "…"
	}
	return shown
}

func suits(kind string) Form {
	switch kind {
	case "JSON":
		return JSON
	case "text", "empty":
		return Text
	}
	return Hex
}

func (v *View) json(data []byte) {
	if v.Kind != "JSON" && !isJSON(data, false) {
		v.Form = Text
		v.Notes = append(v.Notes, "This is not JSON, so it is shown as text.")
		v.text(string(data))
		return
	}
	indented, whole := indent(data, maxGrowth*len(data)+1024)
	if !whole {
		v.Form = Text
		v.Notes = append(v.Notes, "Its JSON is nested too deeply to be indented, so it is shown as it is.")
		indented = string(data)
	}
	v.text(indented)
}

// maxGrowth is how much longer than a body its indented form may be: brackets
// that are nested thousands deep would indent a megabyte to gigabytes.
const maxGrowth = 8

func (v *View) text(s string) {
	shown, odd := visible(s)
	v.Text = shown
	switch {
	case odd == 1:
		v.Notes = append(v.Notes, "One byte or character that cannot be seen is shown as its code, in ⟦ ⟧.")
	case odd > 1:
		v.Notes = append(v.Notes, "Bytes and characters that cannot be seen are shown as their codes, in ⟦ ⟧.")
	}
}

// kindOf tells what data seem to be. Names of anything else than JSON and text
// are those that net/http sniffs, in words.
func kindOf(data []byte, cut bool) string {
	switch {
	case len(data) == 0:
		return "empty"
	case isJSON(data, cut):
		return "JSON"
	case mostlyText(data):
		return "text"
	}
	sniffed, _, _ := strings.Cut(http.DetectContentType(data), ";")
	if name, ok := kinds[sniffed]; ok {
		return name
	}
	return "binary"
}

var kinds = map[string]string{
	"application/x-gzip": "gzip", "application/zip": "zip archive", "application/pdf": "PDF",
	"image/png": "PNG image", "image/jpeg": "JPEG image", "image/gif": "GIF image", "image/webp": "WebP image",
	"application/wasm": "WebAssembly",
}

// mostlyText reports whether data are better read as text than in hexadecimal:
// valid UTF-8, and nearly all of it can be seen.
func mostlyText(data []byte) bool {
	if !utf8.Valid(data) {
		return false
	}
	odd, all := 0, 0
	for _, r := range string(data) {
		all++
		if !seen(r) && r != '\r' {
			odd++
		}
	}
	return odd*20 <= all
}

// withoutHalf leaves out the beginning of a character whose rest has been cut off.
func withoutHalf(b []byte) []byte {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		if tail := b[len(b)-n:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				return b[:len(b)-n]
			}
			break
		}
	}
	return b
}
