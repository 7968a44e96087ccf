package yardstick_test

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/millrace-mq/millrace/apps/bench/yardstick"
)

func TestMeasure(t *testing.T) {
	dir := t.TempDir()
	d, err := yardstick.Measure(t.Context(), dir, 1<<20, 3)
	if err != nil {
		t.Fatal(err)
	}
	if d.Write <= 0 || d.Device <= 0 || d.Device > d.Write || d.Read <= 0 || d.Sync <= 0 {
		t.Errorf("%+v", d)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%d files are left, %v", len(left), err)
	}
	if _, err := yardstick.Measure(t.Context(), dir+"/nowhere", 1, 1); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("in a directory that is not there: %v", err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := yardstick.Measure(ended, dir, 1<<20, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}
