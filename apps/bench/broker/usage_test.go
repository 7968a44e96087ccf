package broker

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

const (
	goldenStatus = "Name:\tqd\nUmask:\t0022\nVmPeak:\t 1229600 kB\nVmHWM:\t   29360 kB\nVmRSS:\t   28672 kB\nThreads:\t3\n"
	// The name is the program's own choice.
	goldenStat = "42 (a) b (c) S 1 42 42 0 -1 4194304 1217 0 3 0 123 45 7 8 20 0 6 0 37823 1259110400 7168 18446744073709551615\n"
)

func TestReadUsage(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	for _, c := range []struct {
		name string
		proc fstest.MapFS
		want Usage
		err  string
	}{
		{name: "threads", proc: fstest.MapFS{
			"42/status": file(goldenStatus), "42/stat": file(goldenStat),
			"42/task/42/schedstat": file("1000000007 12 5\n"), "42/task/43/schedstat": file("500000000 0 1\n"),
			"7/task/7/schedstat": file("9 9 9\n"),
		}, want: Usage{CPU: 1500000007, Resident: 28672 << 10, Peak: 29360 << 10}},
		{name: "a kernel without schedstat", proc: fstest.MapFS{
			"42/status": file(goldenStatus), "42/stat": file(goldenStat),
		}, want: Usage{CPU: 1680 * time.Millisecond, Resident: 28672 << 10, Peak: 29360 << 10}},
		{name: "no such process", proc: fstest.MapFS{}, err: "process 42"},
		{name: "a zombie has no memory", proc: fstest.MapFS{"42/status": file("Name:\tqd\nState:\tZ (zombie)\n")}, err: "no VmRSS"},
		{name: "nonsense", proc: fstest.MapFS{"42/status": file(goldenStatus), "42/stat": file("42 (qd) S\n")}, err: "too short"},
	} {
		got, err := ReadUsage(c.proc, 42)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: error %v, want %q", c.name, err, c.err)
			}
		} else if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v, want %+v", c.name, got, err, c.want)
		}
	}
}

func TestReadUsageOfThisProcess(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("this system has no /proc")
	}
	u, err := ReadUsage(os.DirFS("/proc"), os.Getpid())
	if err != nil || u.CPU <= 0 || u.Resident <= 0 || u.Peak < u.Resident {
		t.Errorf("%+v, %v", u, err)
	}
}
