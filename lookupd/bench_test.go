package lookupd

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/millrace-mq/millrace/lookupd/registry"
)

// nowhere is an answer that nobody reads.
type nowhere struct{ header http.Header }

func (n nowhere) Header() http.Header         { return n.header }
func (n nowhere) WriteHeader(int)             {}
func (n nowhere) Write(p []byte) (int, error) { return len(p), nil }

// A lookup, without what net/http does for it.
func BenchmarkLookup(b *testing.B) {
	for _, producers := range []int{3, 10, 1000} {
		b.Run(fmt.Sprint(producers), func(b *testing.B) {
			f := newFace(b)
			for i := range producers {
				f.register(f.join(fmt.Sprint("h", i), nil),
					registry.Registration{Topic: "t", Channel: "c", Generation: 1}, registry.Registration{Topic: "t", Channel: "d", Generation: 1})
			}
			h, w, r := f.handler, nowhere{make(http.Header)}, httptest.NewRequest("GET", "/lookup?topic=t", nil)
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(w, r)
			}
		})
	}
}
