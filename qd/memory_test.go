package qd

import (
	"testing"
	"testing/fstest"
)

func TestMemory(t *testing.T) {
	machine := "MemTotal:       16777216 kB\nMemFree:        1 kB\n"
	for name, tt := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"nothing is known": {nil, 0},
		"a machine":        {map[string]string{"proc/meminfo": machine}, 16 << 30},
		"nonsense":         {map[string]string{"proc/meminfo": "MemTotal:\nMemTotal: many kB\n", "proc/self/cgroup": "0\n::\n0::/\n", "sys/fs/cgroup/memory.max": "-5\n"}, 0},
		"a container with names of its own": {map[string]string{
			"proc/meminfo": machine, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "536870912\n",
		}, 512 << 20},
		"a container that has its name outside": {map[string]string{
			"proc/meminfo": machine, "proc/self/cgroup": "0::/docker/abc\n", "sys/fs/cgroup/memory.max": "536870912\n",
		}, 512 << 20},
		"the least of the groups, one in another": {map[string]string{
			"proc/meminfo": machine, "proc/self/cgroup": "0::/system.slice/qd.service\n",
			"sys/fs/cgroup/system.slice/qd.service/memory.max": "max\n", "sys/fs/cgroup/system.slice/memory.max": "1073741824\n",
		}, 1 << 30},
		"groups of the first version": {map[string]string{
			"proc/meminfo": machine, "proc/self/cgroup": "8:pids:/\n4:memory:/pod\n0::/\n", "sys/fs/cgroup/memory/pod/memory.limit_in_bytes": "2147483648\n",
		}, 2 << 30},
		"a group without a limit": {map[string]string{
			"proc/meminfo": machine, "proc/self/cgroup": "4:memory:/pod\n", "sys/fs/cgroup/memory/pod/memory.limit_in_bytes": "9223372036854771712\n",
		}, 16 << 30},
	} {
		t.Run(name, func(t *testing.T) {
			root := make(fstest.MapFS)
			for file, text := range tt.files {
				root[file] = &fstest.MapFile{Data: []byte(text)}
			}
			if got := memoryOf(root); got != tt.want {
				t.Errorf("%d bytes, want %d", got, tt.want)
			}
		})
	}
}
