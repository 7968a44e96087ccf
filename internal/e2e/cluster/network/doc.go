// Package network plays the network of several machines on one: each host has a
// network namespace of its own, and every packet between two of them passes
// through this process, which drops or delays it as it is told. It is for tests,
// and there for Linux alone.
//
// A host's only device besides its loopback is a TUN device, whose other end
// this process holds. Nothing answers for a host that cannot be reached: a
// cut link is silence, in one direction or both, as it is between machines that
// are far apart, and not an error. No program is called for it, nothing is named
// where others could see it, and the kernel takes everything away with the
// process, however that ends.
package network
