package guard_test

import (
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/admin/guard"
)

func TestCleanBase(t *testing.T) {
	for in, want := range map[string]string{
		"": "/", "/": "/", "/x": "/x/", "/x/": "/x/", "x/y": "/x/y/", "/x/y/": "/x/y/", "/a.b-c_d~e/F9": "/a.b-c_d~e/F9/", "/..x/...": "/..x/.../",

		"//": "", "//evil": "", "//evil.example/x": "", "/x//y": "", "/x//": "", "x//": "", "/x/../y": "", "/..": "", "..": "", "/.": "", "/x/.": "",
		"/%2e%2e/x": "", "/x%2fy": "", "/%": "", `/\evil`: "", `\\evil`: "", "/x y": "", "/x?y": "", "/x#y": "", "/x;y": "", "/x\ny": "", "/x\x00": "",
		"https://evil.example/": "", "/javascript:alert(1)": "", "/<b>": "", `/"x`: "", "/é": "", "/\xff": "", "/x,y": "", "/" + strings.Repeat("x", 300): "",
	} {
		got, err := guard.CleanBase(in)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "base-path") {
			t.Errorf("%q: the error does not name the flag: %v", in, err)
		}
	}
}

func FuzzCleanBase(f *testing.F) {
	for _, s := range []string{"", "/", "/x/y", "x", "//evil", "/..", "/%2e", "/a?b", `/\`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		base, err := guard.CleanBase(in)
		if err != nil {
			return
		}
		if again, err := guard.CleanBase(base); err != nil || again != base {
			t.Fatalf("%q becomes %q, and that %q: %v", in, base, again, err)
		}
		// A browser that is told to go there stays here, and nothing on the way changes it.
		to, err := url.Parse("http://here.example/start")
		if err != nil {
			t.Fatal(err)
		}
		u, err := to.Parse(base + "topics")
		if err != nil || u.Host != "here.example" || u.EscapedPath() != base+"topics" || u.RawQuery != "" || u.Fragment != "" {
			t.Fatalf("%q becomes %q, which leads to %v, %v", in, base, u, err)
		}
		if clean := path.Clean(base); base != "/" && clean+"/" != base {
			t.Fatalf("%q becomes %q, cleaned %q", in, base, clean)
		}
	})
}
