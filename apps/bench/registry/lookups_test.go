package registry

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// A lookupd that goes wrong once it has been audited is found out by the lookups
// themselves; one that refuses some has errors in its row.
func TestLookupsAreChecked(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		f      *fake
		errors int64
		want   string
	}{
		{"loses a producer", &fake{lookup: func(all []any) []any { return all[1:] }}, 0, " has 2 producers where 3 of 3 are always there"},
		{"lists one twice", &fake{lookup: func(all []any) []any { return append(all, all[0]) }}, 0, " has 4 producers where 3 of 3 are always there"},
		{"is too busy", &fake{before: func(http.ResponseWriter) int { return 503 }}, 27, ""},
		{"hangs up", &fake{before: func(w http.ResponseWriter) int { w.Header().Set("Connection", "close"); return 503 }}, 27, ""},
		{"breaks off", &fake{before: func(w http.ResponseWriter) int { w.Header().Set("Content-Length", "9"); return 200 }}, 27, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := small()
			s.TCP, s.HTTP = c.f.start(t)
			cluster := newCluster(s, "t")
			for i := range s.Daemons {
				d := &daemon{cluster: cluster, number: i, addr: s.TCP, stall: s.Stall}
				defer d.leave()
				if _, err := d.back(t.Context(), t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			l := newLookups(cluster, s, nil)
			err := l.run(t.Context(), s)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if n := l.errors.Load(); n != c.errors {
				t.Errorf("%d errors, not %d", n, c.errors)
			}
		})
	}
}

// A lookup that waits for its turn has waited since it was due.
func TestNoCoordinatedOmission(t *testing.T) {
	// The first answer is held for so long, by the real clock, for the waits of the
	// others are measured by it. A slow machine makes them longer, which is right.
	const held = 200 * time.Millisecond
	s := small()
	s.Conns, s.Seconds = 1, 0.2
	first := true
	f := &fake{before: func(http.ResponseWriter) int {
		if first {
			time.Sleep(held)
		}
		first = false
		return 503
	}}
	s.TCP, s.HTTP = f.start(t)
	l := newLookups(newCluster(s, "t"), s, nil)
	if err := l.run(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	for i, d := range l.samples {
		if least := held - l.due(i); d <= 0 || d < least {
			t.Errorf("lookup %d waited %v, which is less than %v", i, d, least)
		}
	}
}

// What is never answered is given up, and counts with the time until then.
func TestLookupsGiveUp(t *testing.T) {
	t.Parallel()
	s := small()
	s.Conns, s.Stall = 1, 300*time.Millisecond
	release := make(chan struct{})
	f := &fake{before: func(http.ResponseWriter) int { <-release; return 503 }}
	s.TCP, s.HTTP = f.start(t)
	defer close(release)
	l := newLookups(newCluster(s, "t"), s, nil)
	if err := l.run(t.Context(), s); err != nil || l.errors.Load() != int64(l.count) {
		t.Fatalf("%v, %d errors of %d", err, l.errors.Load(), l.count)
	}
	if d := l.samples[l.count-1]; d < s.Stall {
		t.Errorf("the last waited %v, which is less than %v", d, s.Stall)
	}
}
