package cluster

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// CheckAddress returns what is wrong with the address of a daemon's HTTP API, if
// anything: it must be a host name or an IP address (IPv6 in brackets), and a port.
// Nothing that means something else in a URL passes.
func CheckAddress(address string) error {
	if host, _, isURL := strings.Cut(address, "://"); isURL && len(host) <= len("https") {
		return fmt.Errorf("%q: must be host:port, without %s://", shorten(address), host)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q: must be host:port, IPv6 as [::1]:4151", shorten(address))
	}
	if err := checkHost(host); err != nil {
		return fmt.Errorf("%q: %w", shorten(address), err)
	}
	// Only one way to write it, or one daemon has two names: no 04151, no +4151.
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
		return fmt.Errorf("%q: the port must be a number from 1 to 65535", shorten(address))
	}
	return nil
}

// maxHost is the longest name that DNS has.
const maxHost = 253

func checkHost(host string) error {
	if host == "" || len(host) > maxHost {
		return fmt.Errorf("the host must have 1 to %d characters", maxHost)
	}
	name := host
	if strings.Contains(host, ":") {
		ip, err := netip.ParseAddr(host)
		if err != nil {
			return errors.New("the host must be a name or an IP address")
		}
		name = ip.Zone() // may be empty
	}
	for _, c := range []byte(name) {
		if !isHostByte(c) {
			return errors.New("the host must be a name (letters, digits, dots, hyphens) or an IP address")
		}
	}
	return nil
}

// isHostByte reports whether c may be in a host's name. The underscore is not DNS's, but
// Docker's.
func isHostByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '-' || c == '_'
}

// join makes an address of what a daemon says of itself.
func join(host string, port int) (string, error) {
	address := net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(port))
	return address, CheckAddress(address)
}

func checkAll(addresses []string) error {
	var errs []error
	for _, a := range addresses {
		errs = append(errs, CheckAddress(a))
	}
	return errors.Join(errs...)
}

// unique returns the addresses in their order, each once.
func unique(addresses []string) (all []string) {
	for _, a := range addresses {
		if !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	return all
}

// shorten is text from outside, of a length that fits into a line.
func shorten(s string) string {
	const most = 120
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
