package guard

import (
	"net"
	"net/netip"
	"strings"
)

// ownName reports whether a Host header names this machine as only it is called from
// within. A site of somebody else's whose name leads here is not one, nor is anything
// that only looks like an address. Without a header it is no browser that asks.
func ownName(host string) bool {
	if host == "" {
		return true
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		host = strings.TrimSuffix(inner, "]")
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Unmap().IsLoopback()
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}
