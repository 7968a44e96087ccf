package web

import (
	"html/template"
	"math"
	"testing"
	"time"
)

func TestNum(t *testing.T) {
	tests := []struct {
		in   any
		want template.HTML
	}{
		{0, `<span class="zero">0</span>`},
		{int64(7), "7"}, {-1, "−1"}, {uint64(999), "999"}, {1000, "1,000"}, {9_999_999, "9,999,999"}, {-1234, "−1,234"},
		{10_000_000, "<span title=\"10,000,000\">10\u00a0M</span>"},
		{int64(math.MaxInt64), "<span title=\"9,223,372,036,854,775,807\">9.22\u00a0E</span>"},
		{int64(math.MinInt64), "<span title=\"−9,223,372,036,854,775,808\">−9.22\u00a0E</span>"},
		{uint64(math.MaxUint64), "<span title=\"9,223,372,036,854,775,807\">9.22\u00a0E</span>"},
	}
	for _, tt := range tests {
		if got := num(tt.in); got != tt.want {
			t.Errorf("num(%v) = %s, want %s", tt.in, got, tt.want)
		}
	}
}

func TestRateText(t *testing.T) {
	tests := []struct {
		in   float64
		want string
	}{
		{0, "0"}, {-1, "–"}, {math.NaN(), "–"}, {math.Inf(1), "–"}, {0.0001, "<0.01"}, {0.02, "0.02"}, {0.5, "0.50"}, {0.949, "0.95"}, {0.99, "1"}, {1, "1"}, {3.44, "3.4"},
		{9.94, "9.9"}, {9.96, "10"}, {12.5, "13"}, {1234.4, "1,234"}, {999_999, "999,999"}, {1_200_000, "1.20\u00a0M"}, {math.MaxFloat64, "1.8e+290\u00a0E"},
	}
	for _, tt := range tests {
		if got := rateText(tt.in); got != tt.want {
			t.Errorf("rateText(%v) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestSizeText(t *testing.T) {
	tests := []struct {
		in   int64
		want string
	}{
		{0, "0 B"}, {-1, "–"}, {999, "999 B"}, {1000, "0.98 KiB"}, {1536, "1.50 KiB"}, {20 << 30, "20 GiB"}, {math.MaxInt64, "8 EiB"},
	}
	for _, tt := range tests {
		if got := sizeText(tt.in); got != tt.want {
			t.Errorf("sizeText(%d) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestLasts(t *testing.T) {
	tests := []struct {
		in   time.Duration
		want string
	}{
		{0, "0"}, {-1, "–"}, {250 * time.Nanosecond, "0.25 µs"}, {3400 * time.Microsecond, "3 ms"}, {340 * time.Millisecond, "340 ms"}, {1500 * time.Millisecond, "1.50 s"},
		{12 * time.Second, "12 s"}, {119 * time.Second, "119 s"}, {2 * time.Minute, "2 min"}, {90 * time.Minute, "90 min"}, {125 * time.Minute, "2 h 5 min"},
		{3 * time.Hour, "3 h"}, {96 * time.Hour, "4 d"}, {math.MaxInt64, "106,751 d"},
	}
	for _, tt := range tests {
		if got := lasts(tt.in); got != tt.want {
			t.Errorf("lasts(%s) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestAge(t *testing.T) {
	tests := []struct {
		at   time.Time
		want template.HTML
	}{
		{time.Time{}, unknown},
		{noon, `<time datetime="2026-03-14T12:00:00Z" title="2026-03-14 12:00:00 UTC">now</time>`},
		{noon.Add(-90 * time.Second), `<time datetime="2026-03-14T11:58:30Z" title="2026-03-14 11:58:30 UTC">90 s ago</time>`},
		{noon.Add(time.Hour), `<time datetime="2026-03-14T13:00:00Z" title="2026-03-14 13:00:00 UTC">in 60 min</time>`},
	}
	for _, tt := range tests {
		if got := age(noon, tt.at); got != tt.want {
			t.Errorf("age(%s) = %s, want %s", tt.at, got, tt.want)
		}
	}
}

func TestPlural(t *testing.T) {
	for want, got := range map[string]string{
		"0 nodes": plural(0, "node"), "1 node": plural(1, "node"), "1,200 topics": plural(int64(1200), "topic"), "2 have": plural(2, "has", "have"), "1 has": plural(1, "has", "have"),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
