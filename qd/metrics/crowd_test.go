package metrics

import (
	"testing"
	"time"
)

// A count that falls, because what it counted turns out to be damaged, stands
// still until it is as high again.
func TestFallingCount(t *testing.T) {
	c := crowd{most: 1, items: make(map[key]*item)}
	for i, step := range []struct{ is, shown float64 }{{5, 5}, {3, 5}, {4, 5}, {7, 7}} {
		all := []entry{{figures: figures{rising: []float64{step.is}, gauges: []float64{0}}, eligible: true}}
		c.settle(all, time.Time{}.Add(time.Hour))
		if got := all[0].item.own[0]; got != step.shown {
			t.Errorf("scrape %d: %v, want %v", i, got, step.shown)
		}
	}
}
