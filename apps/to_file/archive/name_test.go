package archive

import (
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, time.February, 3, 14, 5, 6, 0, time.FixedZone("CET", 3600))

func TestName(t *testing.T) {
	def := Pattern{
		Format: "<TOPIC>.<HOST><REV>.<DATETIME>.log", Datetime: "%Y-%m-%d_%H",
		Topic: "orders", Host: "web1", PID: 42,
	}
	change := func(f func(*Pattern)) Pattern { p := def; f(&p); return p }
	tests := map[string]struct {
		pattern Pattern
		rev     int
		want    string
	}{
		"default":      {def, 0, "orders.web1.2026-02-03_14.log"},
		"revision":     {change(func(p *Pattern) { p.Revision = true }), 12, "orders.web1-000012.2026-02-03_14.log"},
		"suffix":       {change(func(p *Pattern) { p.Suffix = ".gz" }), 0, "orders.web1.2026-02-03_14.log.gz"},
		"suffix there": {change(func(p *Pattern) { p.Format, p.Suffix = "a.gz", ".gz" }), 0, "a.gz"},
		"process":      {change(func(p *Pattern) { p.Format = "<PID>" }), 0, "42"},
		"directories":  {change(func(p *Pattern) { p.Format, p.Datetime = "<DATETIME>/<TOPIC>", "%Y/%m" }), 0, "2026/02/orders"},
		"every letter": {change(func(p *Pattern) {
			p.Format, p.Datetime = "<DATETIME>", "%A %a %B %b %m %d %H %I %M %S %Y %y %p %Z %z %%"
		}), 0, "Tuesday Tue February Feb 02 03 14 02 05 06 2026 26 PM CET +0100 %"},
		"no layout in text": {change(func(p *Pattern) { p.Format, p.Datetime = "<DATETIME>", "2 Jan 15 PM%d" }), 0, "2 Jan 15 PM03"},
		"token in host":     {change(func(p *Pattern) { p.Host = "<TOPIC>" }), 0, "orders.<TOPIC>.2026-02-03_14.log"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			n, err := tt.pattern.Name()
			if err != nil {
				t.Fatal(err)
			}
			if got := Revision(n.At(noon), tt.rev); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestNameRefused(t *testing.T) {
	tests := map[string]struct {
		format, datetime, want string
	}{
		"unknown letter":  {"<DATETIME>", "%Y-%Q", "%Q is unknown"},
		"lone percent":    {"<DATETIME>", "%Y%", "lone %"},
		"above":           {"../<TOPIC>", "%Y", "below the output directory"},
		"above by date":   {"a/<DATETIME>/b", "../..", "below the output directory"},
		"absolute":        {"/etc/<TOPIC>", "%Y", "below the output directory"},
		"empty":           {"", "%Y", "below the output directory"},
		"only directory":  {"<TOPIC>/", "%Y", "not a file name"},
		"only a revision": {"<REV>", "%Y", "below the output directory"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Pattern{Format: tt.format, Datetime: tt.datetime, Topic: "t"}.Name()
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestHost(t *testing.T) {
	for _, tt := range [][3]string{
		{"", "web1.example.com", "web1"},
		{"", "web1", "web1"},
		{"<HOSTNAME>", "web1.example.com", "web1.example.com"},
		{"x-<SHORT_HOST>-<HOSTNAME>", "a.b", "x-a-a.b"},
		{"fixed", "a.b", "fixed"},
	} {
		if got := Host(tt[0], tt[1]); got != tt[2] {
			t.Errorf("Host(%q, %q) = %q, want %q", tt[0], tt[1], got, tt[2])
		}
	}
}

func TestRotationDue(t *testing.T) {
	opened := state{name: "a", opened: noon, bytes: 100}
	tests := map[string]struct {
		rotation rotation
		name     string
		after    time.Duration
		want     bool
	}{
		"no limit":         {rotation{}, "a", 1000 * time.Hour, false},
		"new name":         {rotation{}, "b", 0, true},
		"as old as may be": {rotation{interval: time.Minute}, "a", time.Minute, false},
		"older":            {rotation{interval: time.Minute}, "a", time.Minute + 1, true},
		"as large as may":  {rotation{size: 100}, "a", 0, false},
		"larger":           {rotation{size: 99}, "a", 0, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := tt.rotation.due(opened, tt.name, noon.Add(tt.after)); (got != "") != tt.want {
				t.Errorf("due: %q, want %t", got, tt.want)
			}
		})
	}
}
