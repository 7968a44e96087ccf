//go:build !race

package broker

import "syscall"

// arenaBytes is how much memory is taken from the system at a time. It costs
// nothing before it is written to.
const arenaBytes = 16 << 20

// newArena takes memory from the system, outside Go's heap. Blocks there are
// not garbage that waits for a collection while new ones are made, so the
// memory in use is what messages take and not twice as much. It returns nil
// when the system refuses.
//
// Huge pages are not asked for: they are cleared faster, but on a virtual
// machine whose host has taken unused memory back, the first touch of one was
// measured to cost several times that of small pages, which the kernel takes
// from those used last.
func newArena() []byte {
	b, err := syscall.Mmap(-1, 0, arenaBytes, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil
	}
	return b
}

// discard gives the pages under b back to the system. Their addresses stay
// valid and read as zero.
func discard(b []byte) { _ = syscall.Madvise(b, syscall.MADV_DONTNEED) }
