package lookupd

import (
	"net"
	"net/netip"
	"strings"
	"sync"
)

// loopback reports whether a host is this machine as it calls itself.
func loopback(host string) bool {
	host = strings.Trim(host, "[]")
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.WithZone("").Unmap().IsLoopback()
	}
	return strings.EqualFold(strings.TrimSuffix(host, "."), "localhost")
}

// elsewhere returns the address that a connection comes from if that is another
// machine. Socket files are on this one.
func elsewhere(remote net.Addr) (host string, is bool) {
	tcp, ok := remote.(*net.TCPAddr)
	if !ok || tcp.IP.IsLoopback() {
		return "", false
	}
	return tcp.AddrPort().Addr().Unmap().String(), true
}

// once remembers what has been said, so that it is not said again. It is safe
// for concurrent use.
type once struct {
	mu   sync.Mutex
	said map[string]struct{}
}

// maxSaid bounds the memory that peers can fill with what they say. Beyond it
// things are said again.
const maxSaid = 4096

// first reports whether key is new.
func (o *once) first(key string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, known := o.said[key]; known {
		return false
	}
	if o.said == nil || len(o.said) >= maxSaid {
		o.said = make(map[string]struct{})
	}
	o.said[key] = struct{}{}
	return true
}
