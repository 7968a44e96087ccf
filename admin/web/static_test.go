package web

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/admin/signin"
)

func TestStaticFiles(t *testing.T) {
	u := newUI(t, Settings{}, fleetOf(1, 1))
	ask := func(at, accepts string) *http.Response {
		r := httptest.NewRequest("GET", at, nil)
		r.Header.Set("Accept-Encoding", accepts)
		w := httptest.NewRecorder()
		u.ServeHTTP(w, r)
		return w.Result()
	}
	const forEver = "public, max-age=31536000, immutable"
	tests := []struct {
		at, accepts              string
		code                     int
		kind, encoding, keepable string
	}{
		{u.static("main.js"), "gzip, br", 200, "text/javascript; charset=utf-8", "gzip", forEver},
		{u.static("main.js"), "gzip;q=0", 200, "text/javascript; charset=utf-8", "", forEver},
		{u.static("main.js"), "", 200, "text/javascript; charset=utf-8", "", forEver},
		{u.static("millrace.css"), "br;q=1.0, gzip;q=0.5", 200, "text/css; charset=utf-8", "gzip", forEver},
		{u.static("mark.svg"), "", 200, "image/svg+xml", "", forEver},
		{"/static/of-old/live.js", "", 200, "text/javascript; charset=utf-8", "", "no-store"},
		{u.static("no.js"), "", 404, "", "", ""},
		{u.static("uplot/"), "", 404, "", "", ""},
	}
	for _, tt := range tests {
		a := ask(tt.at, tt.accepts)
		h := a.Header
		if a.StatusCode != tt.code || tt.code == 200 && (h.Get("Content-Type") != tt.kind || h.Get("Content-Encoding") != tt.encoding || h.Get("Cache-Control") != tt.keepable) {
			t.Errorf("%s accepting %q: %d %v", tt.at, tt.accepts, a.StatusCode, h)
		}
	}
	packed, _ := io.ReadAll(ask(u.static("main.js"), "gzip").Body)
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(z)
	if want, _ := staticFiles.ReadFile("static/main.js"); err != nil || !bytes.Equal(plain, want) {
		t.Errorf("what is packed is not the file: %v", err)
	}
}

var (
	imported = regexp.MustCompile(`(?m)^import .*"\./([a-z.]+)";`)
	linked   = regexp.MustCompile(`/static/[0-9a-f]+/([a-zA-Z./]+)"`)
)

// The first page of three nodes and a thousand topics is less than 150 KB with all that
// it loads.
func TestBytesOfTheFirstPage(t *testing.T) {
	u := newUI(t, Settings{ClusterName: "Frankfurt", Environment: "production"}, fleetOf(3, 1000))
	page := get(u, signin.Admin, "/").Body.Bytes()
	total := len(pack(page))
	seen := map[string]bool{}
	var load func(file string)
	load = func(file string) {
		f, ok := u.assets.files[file]
		if seen[file] || !ok {
			if !ok {
				t.Errorf("%q is not there", file)
			}
			return
		}
		seen[file] = true
		total += len(f.packed)
		for _, m := range imported.FindAllSubmatch(f.plain, -1) {
			load(path.Join(path.Dir(file), string(m[1])))
		}
	}
	for _, m := range linked.FindAllSubmatch(page, -1) {
		load(string(m[1]))
	}
	load("uplot/uPlot.iife.min.js") // as chart.js does
	load("uplot/uPlot.min.css")
	for _, file := range []string{"millrace.css", "live.js", "morph.js", "palette.js"} {
		if !seen[file] {
			t.Errorf("%s was not counted", file)
		}
	}
	t.Logf("%d bytes: the page %d, packed", total, len(pack(page)))
	if total >= 150_000 {
		t.Errorf("the first page is %d bytes with all that it loads", total)
	}
}

// What is vendored is what it says it is, with its licence.
func TestVendored(t *testing.T) {
	for file, want := range map[string]string{
		"uplot/uPlot.iife.min.js": "v1.6.32", "uplot/LICENSE": "MIT", "uplot/README.md": "uplot@1.6.32",
	} {
		if b, err := staticFiles.ReadFile("static/" + file); err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%s: does not say %q (%v)", file, want, err)
		}
	}
}

func benchmarkPage(b *testing.B, nodes, topics int, at string) {
	u := newUI(b, Settings{}, fleetOf(nodes, topics))
	b.ReportAllocs()
	for b.Loop() {
		if w := get(u, signin.Admin, at); w.Code != http.StatusOK {
			b.Fatal(w.Code)
		}
	}
}

func BenchmarkFirstPage3Nodes1000Topics(b *testing.B) { benchmarkPage(b, 3, 1000, "/") }
func BenchmarkTopics50Nodes10000Topics(b *testing.B)  { benchmarkPage(b, 50, 10_000, "/topics") }
func BenchmarkTopicOf50Nodes(b *testing.B)            { benchmarkPage(b, 50, 100, "/topics/orders.00003") }
func BenchmarkTopicsFiltered10000Topics(b *testing.B) {
	benchmarkPage(b, 50, 10_000, "/topics?q=99&sort=depth")
}
