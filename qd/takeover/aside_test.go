package takeover_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/qd/takeover"
)

// others are files in the data directory that are not nsqd's.
var others = []string{"qd.json", "nsqd.log", "t.diskqueue.txt", "nsqd.dat.old", "my.dat"}

// leave makes a data directory, and returns what nsqd left in it.
func leave(t *testing.T) (dir string, nsqd map[string]string) {
	dir = t.TempDir()
	kind(dated).queue(t, dir, "t", 50, 10, 2000)
	kind(dated).queue(t, dir, "t:c", 50, 0, 2000)
	for _, name := range []string{
		"nsqd.512.dat", "nsqd.dat.99.tmp", "t.diskqueue.000099.dat.bad", "t.diskqueue.meta.dat.1.tmp",
		"gone:x#y.diskqueue.000000.dat", "gone.diskqueue.1000000.dat",
	} {
		write(t, dir, name, "of nsqd's: "+name)
	}
	write(t, dir, "nsqd.dat", oneTopic)
	nsqd = contents(t, dir)
	for _, name := range others {
		write(t, dir, name, "of others'")
	}
	return dir, nsqd
}

func wantAside(t *testing.T, dir string, nsqd map[string]string) {
	t.Helper()
	if got := contents(t, filepath.Join(dir, takeover.Folder)); !maps.Equal(got, nsqd) {
		t.Errorf("set aside is %q, not %q", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(nsqd)))
	}
	want := slices.Sorted(slices.Values(append([]string{takeover.Folder}, others...)))
	if got := slices.Sorted(maps.Keys(contents(t, dir))); !slices.Equal(got, want) {
		t.Errorf("left are %q, not %q", got, want)
	}
	if s, err := takeover.Find(dir); s != nil || err != nil {
		t.Errorf("found again: %v, %v", s, err)
	}
}

// TestSetAside sets aside all of nsqd's files, untouched, and nothing else.
func TestSetAside(t *testing.T) {
	dir, nsqd := leave(t)
	s := find(t, dir)
	for range 2 {
		if err := s.SetAside(); err != nil {
			t.Fatal(err)
		}
		wantAside(t, dir, nsqd)
		if err := takeover.Complete(dir); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCompleteAnywhere completes a SetAside that was killed behind any number
// of files, in the order in which it goes.
func TestCompleteAnywhere(t *testing.T) {
	_, nsqd := leave(t)
	order := []string{"nsqd.512.dat", "nsqd.dat"}
	for _, name := range slices.Sorted(maps.Keys(nsqd)) {
		if !slices.Contains(order, name) {
			order = append(order, name)
		}
	}
	for moved := range len(order) {
		dir, nsqd := leave(t)
		folder := filepath.Join(dir, takeover.Folder)
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range order[:moved] {
			if err := os.Rename(filepath.Join(dir, name), filepath.Join(folder, name)); err != nil {
				t.Fatal(err)
			}
		}
		if err := takeover.Complete(dir); err != nil {
			t.Fatal(err)
		}
		wantAside(t, dir, nsqd)
	}
}

// TestAsideFails makes SetAside fail at the first queue, whose name is taken
// and too long to get a number. nsqd.dat must be gone by then.
func TestAsideFails(t *testing.T) {
	dir, nsqd := leave(t)
	long := strings.Repeat("A", 255-len(".diskqueue.000000.dat")) + ".diskqueue.000000.dat"
	folder := filepath.Join(dir, takeover.Folder)
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, folder, long, "in the way")
	write(t, dir, long, "the first by name")
	if err := find(t, dir).SetAside(); err == nil {
		t.Fatal("no error")
	}
	if s, err := takeover.Find(dir); s != nil || err != nil {
		t.Fatalf("with a part of the files gone: found %v, %v", s, err)
	}
	left := contents(t, dir)
	for name := range nsqd {
		if _, there := left[name]; there == (name == "nsqd.512.dat" || name == "nsqd.dat") {
			t.Errorf("%s: it is there: %v", name, there)
		}
	}
	if err := os.Remove(filepath.Join(folder, long)); err != nil {
		t.Fatal(err)
	}
	nsqd[long] = contents(t, dir)[long]
	if err := takeover.Complete(dir); err != nil {
		t.Fatal(err)
	}
	wantAside(t, dir, nsqd)
}

// TestAsideTwice goes back to nsqd and takes over again.
func TestAsideTwice(t *testing.T) {
	dir := t.TempDir()
	want := make(map[string]string)
	for _, number := range []string{"", ".1", ".2"} {
		kind(dated).queue(t, dir, "t", 5+len(want), 0, 1<<30)
		write(t, dir, "nsqd.dat", oneTopic)
		for name, text := range contents(t, dir) {
			if name != takeover.Folder {
				want[name+number] = text
			}
		}
		if err := find(t, dir).SetAside(); err != nil {
			t.Fatal(err)
		}
	}
	if got := contents(t, filepath.Join(dir, takeover.Folder)); !maps.Equal(got, want) {
		t.Errorf("set aside is %q, not %q", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
}

// TestAsideOldFirst makes SetAside fail at an nsqd.<worker-id>.dat. Without
// nsqd.dat that file would be taken over, so nsqd.dat must still be there.
func TestAsideOldFirst(t *testing.T) {
	dir, nsqd := leave(t)
	long := "nsqd." + strings.Repeat("5", 255-len("nsqd..dat")) + ".dat"
	folder := filepath.Join(dir, takeover.Folder)
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, folder, long, "in the way")
	write(t, dir, long, oneTopic)
	if err := find(t, dir).SetAside(); err == nil {
		t.Fatal("no error")
	}
	left := contents(t, dir)
	for name, text := range nsqd {
		if name != "nsqd.512.dat" && left[name] != text {
			t.Errorf("%s is gone or changed", name)
		}
	}
}
