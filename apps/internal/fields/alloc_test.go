//go:build !race

package fields_test

import (
	"testing"

	"github.com/millrace-mq/millrace/apps/internal/fields"
)

// TestAllocations: a look allocates nothing. The race detector empties pools at random.
func TestAllocations(t *testing.T) {
	body := []byte(`{"id":42,"user":{"name":"\u0061da","tags":["x","y"]},"text":"some words that nobody looks for"}`)
	f := fields.Filter{{Field: "user.name", Value: "ada"}, {Field: "id", Value: "42"}}
	names, out := []string{"id", "user.name"}, make([]byte, 0, 1024)
	n := testing.AllocsPerRun(100, func() {
		if ok, err := f.Match(body); !ok || err != nil {
			t.Fatal(ok, err)
		}
		if _, err := fields.Append(out, body, names); err != nil {
			t.Fatal(err)
		}
	})
	if n > 1 { // the pool may be emptied meanwhile
		t.Errorf("%v allocations", n)
	}
}
