package network

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// device is what a host's TUN device is called in its namespace.
const device = "net0"

// openDevice makes a TUN device in the thread's namespace, with a route to all
// other hosts, sets it and the loopback going, and returns its far end, from
// which the packets can be read that the host sends.
func openDevice(address netip.Addr) (_ *os.File, err error) {
	// It must not be with the runtime's poller before it is a device's, for until
	// then it has an error to report.
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: opening it: %w", ErrMissing, err)
	}
	defer func() {
		if err != nil {
			_ = unix.Close(fd)
		}
	}()
	// Whole packets, in sizes that the link can carry, with their checksums.
	if err := flags(fd, unix.TUNSETIFF, device, unix.IFF_TUN|unix.IFF_NO_PI); err != nil {
		return nil, fmt.Errorf("%w: making a TUN device: %w", ErrMissing, err)
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("making a socket: %w", err)
	}
	defer func() { _ = unix.Close(s) }()
	err = errors.Join(
		ip4(s, unix.SIOCSIFADDR, device, address),
		ip4(s, unix.SIOCSIFNETMASK, device, netip.AddrFrom4([4]byte{255, 255, 255, 0})),
		flags(s, unix.SIOCSIFFLAGS, device, unix.IFF_UP|unix.IFF_POINTOPOINT|unix.IFF_NOARP),
		flags(s, unix.SIOCSIFFLAGS, "lo", unix.IFF_UP|unix.IFF_LOOPBACK),
	)
	if err != nil {
		return nil, fmt.Errorf("setting up the device: %w", err)
	}
	return os.NewFile(uintptr(fd), device), nil
}

// flags makes an ioctl whose argument is a device's name and its flags.
func flags(fd int, request uint, name string, value uint16) error {
	r, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	r.SetUint16(value)
	return unix.IoctlIfreq(fd, request, r)
}

// ip4 makes an ioctl whose argument is a device's name and an address.
func ip4(fd int, request uint, name string, value netip.Addr) error {
	r, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if err := r.SetInet4Addr(value.AsSlice()); err != nil {
		return err
	}
	return unix.IoctlIfreq(fd, request, r)
}
