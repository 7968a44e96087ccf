package body_test

import (
	"bytes"
	"compress/gzip"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/millrace-mq/millrace/admin/web/body"
)

func TestShow(t *testing.T) {
	for _, c := range []struct {
		name, data string
		cut        bool
		as         body.Form
		want       body.View
	}{
		{name: "empty", want: body.View{Form: body.Text, Kind: "empty"}},
		{name: "text", data: "one\r\ntwo\tthree", want: body.View{Form: body.Text, Kind: "text", Text: "one\ntwo\tthree"}},
		{name: "emoji", data: "👩‍💻 ❤️ ok", want: body.View{Form: body.Text, Kind: "text", Text: "👩‍💻 ❤️ ok"}},
		{name: "HTML", data: "<script>alert(1)</script>", want: body.View{Form: body.Text, Kind: "text", Text: "<script>alert(1)</script>"}},
		{
			name: "JSON", data: `{"id":9007199254740993,"s":"a,{:\"[","e":{},"l":[ ],"n":[1,{"x":null}]}`,
			want: body.View{Form: body.JSON, Kind: "JSON", Text: `{
  "id": 9007199254740993,
  "s": "a,{:\"[",
  "e": {},
  "l": [],
  "n": [
    1,
    {
      "x": null
    }
  ]
}`},
		},
		{name: "a number is text", data: "12345678901234567890", want: body.View{Form: body.Text, Kind: "text", Text: "12345678901234567890"}},
		{name: "JSON that was cut", data: `{"a":[1,"tw`, cut: true, want: body.View{Form: body.JSON, Kind: "JSON", Text: "{\n  \"a\": [\n    1,\n    \"tw"}},
		{name: "broken JSON", data: `{"a":`, want: body.View{Form: body.Text, Kind: "text", Text: `{"a":`}},
		{
			name: "not JSON as JSON", data: "hello", as: body.JSON,
			want: body.View{Form: body.Text, Kind: "text", Text: "hello", Notes: []string{"This is not JSON, so it is shown as text."}},
		},
		{name: "JSON as text", data: `{"a":1}`, as: body.Text, want: body.View{Form: body.Text, Kind: "JSON", Text: `{"a":1}`}},
		{
			name: "hex", data: "<b>", as: body.Hex,
			want: body.View{Form: body.Hex, Kind: "text", Text: "00000000  3c 62 3e                                          |<b>|"},
		},
		{
			name: "invalid UTF-8", data: "\xff\xfe\x00A", want: body.View{
				Form: body.Hex, Kind: "binary", Text: "00000000  ff fe 00 41                                       |...A|",
			},
		},
		{
			name: "invalid UTF-8 as text", data: "a\xffb", as: body.Text, want: body.View{
				Form: body.Text, Kind: "binary", Text: "a⟦FF⟧b",
				Notes: []string{"One byte or character that cannot be seen is shown as its code, in ⟦ ⟧."},
			},
		},
		{
			name: "bidi", data: "pay \u202e00001\u202c to me, today, not tomorrow, please", want: body.View{
				Form: body.Text, Kind: "text", Text: "pay ⟦U+202E⟧00001⟦U+202C⟧ to me, today, not tomorrow, please",
				Notes: []string{"Bytes and characters that cannot be seen are shown as their codes, in ⟦ ⟧."},
			},
		},
		{name: "half a character", data: "gr\xc3", cut: true, want: body.View{Form: body.Text, Kind: "text", Text: "gr"}},
		{name: "gzip", data: gzipped("hello"), cut: true, as: body.Text, want: body.View{Form: body.Text, Kind: "gzip"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := body.Show([]byte(c.data), c.cut, c.as)
			if c.name == "gzip" {
				got.Text, got.Notes = "", nil // what it compresses to is the library's affair
			}
			if got.Form != c.want.Form || got.Kind != c.want.Kind || got.Text != c.want.Text || strings.Join(got.Notes, "|") != strings.Join(c.want.Notes, "|") {
				t.Errorf("got  %+q\nwant %+q", got, c.want)
			}
		})
	}
}

func gzipped(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(s))
	_ = w.Close()
	return b.String()
}

// A body of brackets cannot make the page as large as it likes.
func TestNestedJSONIsBounded(t *testing.T) {
	deep := strings.Repeat("[", 9000) + strings.Repeat("]", 9000)
	v := body.Show([]byte(deep), false, "")
	if v.Text != deep || len(v.Notes) != 1 {
		t.Errorf("%d bytes became %d, with notes %q", len(deep), len(v.Text), v.Notes)
	}
}

func TestLine(t *testing.T) {
	for _, c := range []struct {
		data string
		cut  bool
		want string
	}{
		{"", false, ""},
		{"one\n  two\x00", false, "one two⟦U+0000⟧"},
		{"äöü", false, "äöü"},
		{strings.Repeat("ä", 30), false, strings.Repeat("ä", 20) + "…"},
		{"short", true, "short…"},
		{strings.Repeat(" ", 1000) + "x", false, "…"},
	} {
		if got := body.Line([]byte(c.data), c.cut, 20); got != c.want {
			t.Errorf("%q: %q, want %q", c.data, got, c.want)
		}
	}
}

func FuzzShow(f *testing.F) {
	for _, s := range []string{"", "text", `{"a":[1,2]}`, "\xff\u202e\x00", `[[["`, `{"a\`} {
		f.Add([]byte(s), true, "")
		f.Add([]byte(s), false, "json")
	}
	f.Fuzz(func(t *testing.T, data []byte, cut bool, as string) {
		form, _ := body.ParseForm(as)
		v := body.Show(data, cut, form)
		if !utf8.ValidString(v.Text) {
			t.Errorf("not UTF-8: %q", v.Text)
		}
		for _, r := range v.Text {
			if unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r) {
				t.Errorf("shows %U: %q", r, v.Text)
			}
		}
		if limit := 12*(8*len(data)+1024) + 80; len(v.Text) > limit {
			t.Errorf("%d bytes became %d", len(data), len(v.Text))
		}
	})
}
