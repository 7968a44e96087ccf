package qd

import (
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
)

// defaultMemLimit is a quarter of the memory that the process may have, or 1 GiB where
// that cannot be found out.
func defaultMemLimit() int64 {
	const fallback = 1 << 30
	if memory := memoryOf(os.DirFS("/")); memory > 0 {
		return memory / 4
	}
	return fallback
}

// memoryOf is how many bytes this process may have: the machine's, or less if a control
// group that it is in, such as a container's, has a limit. 0 is unknown. root is the
// root of the file system. The files are those of proc(5) and cgroups(7).
func memoryOf(root fs.FS) int64 {
	var least int64
	bound := func(bytes int64) {
		if bytes > 0 && (least == 0 || bytes < least) {
			least = bytes
		}
	}
	for f := range fieldsOf(root, "proc/meminfo") {
		if f[0] == "MemTotal:" && len(f) >= 2 {
			kib, _ := strconv.ParseInt(f[1], 10, 64)
			bound(kib << 10)
		}
	}
	for f := range fieldsOf(root, "proc/self/cgroup") {
		parts := strings.SplitN(f[0], ":", 3)
		if len(parts) < 3 {
			continue
		}
		switch {
		case parts[1] == "":
			boundByGroup(root, "sys/fs/cgroup", parts[2], "memory.max", bound)
		case parts[1] == "memory":
			boundByGroup(root, "sys/fs/cgroup/memory", parts[2], "memory.limit_in_bytes", bound)
		}
	}
	return least
}

// boundByGroup calls bound with the limits of a group and of those that it is in. In a
// container the group may have its name outside, and only the root is there.
func boundByGroup(root fs.FS, mount, group, file string, bound func(int64)) {
	for at := path.Join("/", group); ; at = path.Dir(at) {
		for f := range fieldsOf(root, path.Join(mount, at, file)) {
			if limit, err := strconv.ParseInt(f[0], 10, 64); err == nil { // else it is "max"
				bound(limit)
			}
		}
		if at == "/" {
			return
		}
	}
}

// fieldsOf yields the fields of each line that has any; none if there is no such file.
func fieldsOf(root fs.FS, name string) func(yield func([]string) bool) {
	return func(yield func([]string) bool) {
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return
		}
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) > 0 && !yield(f) {
				return
			}
		}
	}
}
