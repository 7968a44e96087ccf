package limit

import "net/netip"

// Remote is where somebody comes from, as far as he cannot choose it at will: an IPv4
// address, or the first half of an IPv6 one. All who come by socket file are one, the
// zero Remote.
type Remote netip.Prefix

// RemoteOf returns the Remote of an address as net.Addr's String says it.
func RemoteOf(address string) Remote {
	from, err := netip.ParseAddrPort(address)
	if err != nil {
		return Remote{}
	}
	addr, bits := from.Addr().Unmap().WithZone(""), 64
	if addr.Is4() {
		bits = 32
	}
	prefix, _ := addr.Prefix(bits) // fails only for too many bits
	return Remote(prefix)
}

// Local reports whether it is a socket file's.
func (r Remote) Local() bool { return r == Remote{} }

// String is the address, with its length if it stands for many.
func (r Remote) String() string {
	p := netip.Prefix(r)
	switch {
	case r.Local():
		return "a socket file"
	case p.IsSingleIP():
		return p.Addr().String()
	}
	return p.String()
}
