package listen

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
)

// maxHost is the longest host name in bytes, as DNS has it.
const maxHost = 253

// CheckBroadcast returns why nobody could reach a daemon at the host that it tells
// others, nil if somebody might: a host name or an address, in brackets or not,
// without a port. The error does not name the host: callers do.
func CheckBroadcast(address string) error {
	odd := func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) || r == '/' || r == '\\' }
	switch {
	case len(address) > maxHost:
		return fmt.Errorf("is longer than %d bytes", maxHost)
	case strings.ContainsFunc(address, odd):
		return errors.New("has characters in it that no host has")
	}
	bracketed := strings.HasPrefix(address, "[") && strings.HasSuffix(address, "]")
	ip, err := netip.ParseAddr(unbracket(address))
	if err != nil || bracketed && ip.Is4() {
		if hostName(address) {
			return nil
		}
		return errors.New("is neither a host name nor an address, which has no port with it")
	}
	return checkIP(ip.WithZone("").Unmap())
}

func unbracket(host string) string {
	if inner, ok := strings.CutPrefix(host, "["); ok {
		if inner, ok := strings.CutSuffix(inner, "]"); ok {
			return inner
		}
	}
	return host
}

// checkIP returns why no connection can be made to ip.
func checkIP(ip netip.Addr) error {
	switch {
	case ip.IsUnspecified():
		return errors.New("stands for every address, so nobody can connect to it")
	case ip.IsMulticast():
		return errors.New("is a multicast address, so nobody can connect to it")
	case ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return errors.New("is the broadcast address of networks, so nobody can connect to it")
	}
	return nil
}

// hostName reports whether s can be a host's name: labels of letters, digits,
// hyphens and, since many have them, underscores. What resolvers take for an
// address written as a number, such as 0 or 127.1, is none; a longer row of
// digits is, for containers are called so.
func hostName(s string) bool {
	labels := strings.Split(strings.TrimSuffix(s, "."), ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' || strings.ContainsFunc(label, notInName) {
			return false
		}
	}
	_, err := strconv.ParseUint(labels[len(labels)-1], 0, 32)
	return err != nil
}

func notInName(r rune) bool {
	return (r < 'a' || 'z' < r) && (r < 'A' || 'Z' < r) && (r < '0' || '9' < r) && r != '-' && r != '_'
}
