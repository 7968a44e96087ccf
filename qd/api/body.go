package api

import (
	"unicode"
	"unicode/utf8"
)

// bodyView is as much of a message's body as is to be shown: as text if it is
// text, else in base64.
type bodyView struct {
	Size       int     `json:"size"` // of the whole body, in bytes
	Text       *string `json:"body,omitempty"`
	Base64     []byte  `json:"body_base64,omitempty"`
	Truncated  bool    `json:"truncated,omitempty"`
	Unreadable bool    `json:"unreadable,omitempty"` // it is damaged, or not in memory at level memory; size is 0
}

// showBody shows at most limit bytes of a body. nil is one that cannot be read.
func showBody(body []byte, limit int) bodyView {
	if body == nil {
		return bodyView{Unreadable: true}
	}
	v := bodyView{Size: len(body)}
	if len(body) > limit {
		v.Truncated = true
		body = body[:limit]
	}
	whole := body
	if v.Truncated {
		whole = withoutCutRune(body)
	}
	if isText(whole) {
		text := string(whole)
		v.Text = &text
	} else {
		v.Base64 = append([]byte(nil), body...) // so that the rest of it can go
	}
	return v
}

// shown is how many bytes of the body there are in the view.
func (v *bodyView) shown() int {
	if v.Text != nil {
		return len(*v.Text)
	}
	return len(v.Base64)
}

// withoutCutRune leaves out the beginning of a character whose rest has been cut
// off: text stays text.
func withoutCutRune(b []byte) []byte {
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

// isText reports whether people can read it: UTF-8 without control characters
// other than tab and newline.
func isText(b []byte) bool {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 || unicode.IsControl(r) && r != '\t' && r != '\n' {
			return false
		}
		b = b[n:]
	}
	return true
}
