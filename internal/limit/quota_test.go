package limit

import (
	"fmt"
	"sync"
	"testing"
)

func TestQuota(t *testing.T) {
	there := map[int]bool{1: true, 2: true, 3: true}
	q := NewQuota(func(k int) bool { return there[k] })
	make := func(who string, k int) bool {
		if !q.Claim(who, 2) {
			return false
		}
		q.Made(who, k)
		return true
	}
	if !make("a", 1) || !make("a", 2) || make("a", 3) {
		t.Error("a may not make two, or may make three")
	}
	if !make("b", 3) {
		t.Error("what a has made counts for b")
	}
	delete(there, 1)
	if !make("a", 4) {
		t.Error("what is gone counts")
	}
	there[4] = true
	if !q.Claim("b", 2) {
		t.Fatal("b may not make a second")
	}
	if q.Claim("b", 2) {
		t.Error("what is about to be made does not count")
	}
	q.Abandon("b")
	if !make("b", 3) || !make("b", 2) { // the first it has made already, at once with itself
		t.Error("what was not made counts, or what was made twice")
	}
}

// What is remembered is bounded by what there is, however many have made something.
func TestQuotaForgets(t *testing.T) {
	q := NewQuota(func(k int) bool { return k < 10 })
	for i := range 100_000 {
		if !q.Claim(fmt.Sprint(i), 1) {
			t.Fatalf("client %d may make nothing", i)
		}
		q.Made(fmt.Sprint(i), i)
	}
	if len(q.of) > 2*leastSweep {
		t.Errorf("%d clients are remembered, for ten things", len(q.of))
	}
	if q.Claim("3", 1) {
		t.Error("who has made what is there was forgotten")
	}
}

func TestQuotaAtOnce(t *testing.T) {
	q := NewQuota(func(int) bool { return true })
	var wg sync.WaitGroup
	var mu sync.Mutex
	made := 0
	for i := range 50 {
		wg.Go(func() {
			if q.Claim("a", 10) {
				q.Made("a", i)
				mu.Lock()
				made++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if made != 10 {
		t.Errorf("%d were made", made)
	}
}
