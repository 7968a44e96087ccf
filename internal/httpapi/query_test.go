package httpapi

import (
	"net/http"
	"net/url"
	"testing"
)

// Arguments finds what url.ParseQuery finds.
func FuzzArguments(f *testing.F) {
	for _, q := range []string{
		"", "topic=t", "topic=", "topic", "topic=t&topic=u", "&&topic=t&", "a=b&topic=t=u", "=x&topic=t", "topics=u&topic=t",
		"topic=%74", "%74opic=t", "topic=a+b", "topic=t;x", "topic=%zz", "to%pic=t", "defer=1&topic=t&binary", "?topic=t", "topic=t#x",
	} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		r := &http.Request{URL: &url.URL{RawQuery: raw}}
		a, err := ParseArguments(r)
		q, wrong := Query(r)
		if (err == nil) != (wrong == nil) {
			t.Fatalf("%q: %v, want %v", raw, err, wrong)
		}
		if err != nil {
			return
		}
		q["absent"] = nil
		for name := range q {
			value, given := a.First(name)
			if given != (len(q[name]) > 0) || value != q.Get(name) {
				t.Errorf("%q: %q is %q, %v, want %q", raw, name, value, given, q[name])
			}
		}
	})
}
