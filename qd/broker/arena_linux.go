//go:build !race

package broker

import (
	"syscall"
	"unsafe"
)

// arenaBytes is how much memory is taken from the system at a time: whole huge
// pages.
const arenaBytes = 16 << 20

// newArena takes memory from the system, outside Go's heap. Blocks there are
// not garbage that waits for a collection while new ones are made, so the
// memory in use is what messages take and not twice as much; and the kernel
// clears a huge page in one go where it would otherwise be interrupted for
// every 4 KiB. It returns nil when the system refuses.
func newArena() []byte {
	b, err := syscall.Mmap(-1, 0, arenaBytes+chunkBytes, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil
	}
	past := int(uintptr(unsafe.Pointer(&b[0])) % chunkBytes)
	b = b[chunkBytes-past:][:arenaBytes]          // begins where a huge page may
	_ = syscall.Madvise(b, syscall.MADV_HUGEPAGE) // a kernel without them has small ones
	return b
}

// discard gives the pages under b back to the system. Their addresses stay
// valid and read as zero.
func discard(b []byte) { _ = syscall.Madvise(b, syscall.MADV_DONTNEED) }
