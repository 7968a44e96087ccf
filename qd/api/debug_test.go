package api_test

import (
	"runtime"
	"strings"
	"testing"
)

// That these two answer is in the table; here is that they do what they say.

func TestBlockRate(t *testing.T) {
	d := start(t, nil)
	defer runtime.SetBlockProfileRate(0)
	profile := func() string { return d.send("GET", "/debug/pprof/block?debug=1", nil).Body.String() }
	recorded := func() bool {
		before, blocked := profile(), make(chan struct{})
		go func() {
			runtime.Gosched()
			close(blocked)
		}()
		<-blocked
		after := profile()
		return after != before && strings.Contains(after, "TestBlockRate")
	}
	d.expect("PUT", "/debug/setblockrate?rate=1", nil, 200, "")
	for n := 0; !recorded(); n++ { // one that did not have to wait is not recorded
		if n == 1000 {
			t.Fatal("what blocks is not recorded")
		}
	}
	d.expect("PUT", "/debug/setblockrate?rate=0", nil, 200, "")
	for range 100 {
		if recorded() {
			t.Fatal("it is still recorded")
		}
	}
}

func TestFreeMemory(t *testing.T) {
	d := start(t, nil)
	var before, after runtime.MemStats
	garbage := make([]byte, 64<<20)
	for i := 0; i < len(garbage); i += 4096 {
		garbage[i] = 1
	}
	runtime.ReadMemStats(&before)
	runtime.KeepAlive(garbage)
	d.expect("POST", "/debug/freememory", nil, 200, "")
	runtime.ReadMemStats(&after)
	if gone := int64(before.HeapSys-before.HeapReleased) - int64(after.HeapSys-after.HeapReleased); gone < 32<<20 {
		t.Errorf("%d bytes were given back", gone)
	}
}
