package web

import (
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/admin/fleet"
)

func TestSetTheme(t *testing.T) {
	u := newUI(t, Settings{Base: "/mq"}, &fleet.Snapshot{})
	tests := []struct {
		theme, back      string
		cookie, location string
	}{
		{"dark", "/topics?q=a", "dark", "/mq/topics?q=a"},
		{"light", "", "light", "/mq/"},
		{"system", "/audit", "", "/mq/audit"},
		{"<script>", "/audit", "", "/mq/audit"},
		{"dark", "https://evil.example/", "dark", "/mq/"},
	}
	for _, tt := range tests {
		r := httptest.NewRequest("POST", "/theme", strings.NewReader(url.Values{"theme": {tt.theme}, "back": {tt.back}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		u.ServeHTTP(w, r)
		c := w.Result().Cookies()[0]
		if w.Code != http.StatusSeeOther || c.Value != tt.cookie || c.Path != "/mq/" || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || (c.MaxAge < 0) != (tt.cookie == "") {
			t.Errorf("%s: %d %v", tt.theme, w.Code, c)
		}
		if got := w.Header().Get("Location"); got != tt.location {
			t.Errorf("back to %q: %q, want %q", tt.back, got, tt.location)
		}
	}
}

// A form must not send anybody to another host.
func TestBack(t *testing.T) {
	for _, to := range []string{"", "x", "//evil.example", "/\\evil.example", "\\\\evil", "http://evil.example", "javascript:alert(1)", "/a\r\nSet-Cookie: x", "/%zz", "https:///x", "/\t/evil.example"} {
		if got := back(to); got != "/" {
			t.Errorf("back(%q) = %q", to, got)
		}
	}
	for _, to := range []string{"/", "/topics", "/topics/a%2Fb?node=h%3A4151&q=x"} {
		if got := back(to); got != to {
			t.Errorf("back(%q) = %q", to, got)
		}
	}
}

var token = regexp.MustCompile(`--([a-z0-9-]+): (?:light-dark\(#([0-9a-f]{6}), #([0-9a-f]{6})\)|#([0-9a-f]{6}));`)

// What is read has 4.5:1 in both themes, and what is only seen, such as a chart's lines
// and the edge of a field, 3:1.
func TestContrast(t *testing.T) {
	css, err := staticFiles.ReadFile("static/millrace.css")
	if err != nil {
		t.Fatal(err)
	}
	colours := map[string][2]string{"white": {"ffffff", "ffffff"}}
	for _, m := range token.FindAllStringSubmatch(string(css), -1) {
		if _, known := colours[m[1]]; !known { // else it is said again, to browsers that know one theme
			colours[m[1]] = [2]string{m[2] + m[4], m[3] + m[4]}
		}
	}
	tests := []struct {
		least      float64
		over, what string
	}{
		{4.5, "bg panel raised tint failure-tint warning-tint note-tint", "text"},
		{4.5, "bg panel raised", "soft"},
		{4.5, "bg panel raised tint", "accent"},
		{4.5, "accent", "on-accent"},
		{4.5, "danger", "white"},
		{4.5, "bg panel failure-tint raised", "failure"},
		{4.5, "bg panel warning-tint raised", "warning"},
		{4.5, "bg panel note-tint raised", "note"},
		{4.5, "bg panel ok-tint", "ok"},
		{3, "panel", "series-1 series-2 series-3 series-4"},
		{3, "bg panel", "edge"},
	}
	for _, tt := range tests {
		for _, over := range strings.Fields(tt.over) {
			for _, what := range strings.Fields(tt.what) {
				for theme, name := range []string{"light", "dark"} {
					a, b := colours[what][theme], colours[over][theme]
					if a == "" || b == "" {
						t.Fatalf("there is no colour %s or %s", what, over)
					}
					if got := contrast(t, a, b); got < tt.least {
						t.Errorf("%s: %s (#%s) over %s (#%s) has %.2f:1, want %.1f:1", name, what, a, over, b, got, tt.least)
					}
				}
			}
		}
	}
}

// contrast is what WCAG 2 calls the contrast ratio.
func contrast(t *testing.T, a, b string) float64 {
	x, y := luminance(t, a), luminance(t, b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

func luminance(t *testing.T, hex string) float64 {
	total := 0.0
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		n, err := strconv.ParseUint(hex[2*i:2*i+2], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		c := float64(n) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		total += weight * c
	}
	return total
}

// Browsers that do not know light-dark() have each colour's light one.
func TestColoursOfOldBrowsers(t *testing.T) {
	css, err := staticFiles.ReadFile("static/millrace.css")
	if err != nil {
		t.Fatal(err)
	}
	_, old, _ := strings.Cut(string(css), "@supports not (color: light-dark(")
	old, _, _ = strings.Cut(old, "}")
	for _, m := range token.FindAllStringSubmatch(string(css), -1) {
		if m[2] != "" && !strings.Contains(old, "--"+m[1]+": #"+m[2]+";") {
			t.Errorf("--%s is not #%s", m[1], m[2])
		}
	}
}
