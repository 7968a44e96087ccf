package listen

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strconv"
	"strings"
)

// maxPath is the longest path that a socket file can have, in bytes: what
// Linux's sockaddr_un holds without the zero at its end.
const maxPath = 107

// Split returns the addresses of a list, which has commas between them. A list
// that is empty has none.
func Split(list string) (addresses []string) {
	for part := range strings.SplitSeq(list, ",") {
		if part = strings.TrimSpace(part); part != "" {
			addresses = append(addresses, part)
		}
	}
	return addresses
}

// Network returns what an address is of: tcp for host:port, else unix, for the
// path of a socket file. So it is in NSQ; but what has a slash is always a path
// here, even with a colon after it.
func Network(address string) string {
	if _, _, err := net.SplitHostPort(address); err != nil || strings.Contains(address, "/") {
		return "unix"
	}
	return "tcp"
}

// Check returns what is wrong with the addresses of a list, if anything.
func Check(list string) error {
	for _, address := range Split(list) {
		if err := check(address); err != nil {
			return fmt.Errorf("%q: %w", address, err)
		}
	}
	return nil
}

func check(address string) error {
	if Network(address) == "tcp" {
		_, port, _ := net.SplitHostPort(address)
		if _, err := net.LookupPort("tcp", port); err != nil || port == "" {
			return errors.New("the port must be a number from 0 to 65535")
		}
		return nil
	}
	// NSQ would make a file of such a name, which nobody means.
	_, err := strconv.Atoi(address)
	host := strings.Trim(address, "[]")
	switch colon := strings.Contains(address, ":"); {
	case colon && !strings.Contains(address, "/"):
		return errors.New("must be host:port, IPv6 as [::1]:4150, or the path of a socket file")
	case err == nil, host == "localhost", net.ParseIP(host) != nil:
		return errors.New("must be host:port, or the path of a socket file")
	}
	if len(address) > maxPath {
		return fmt.Errorf("a socket file's path must not be longer than %d bytes", maxPath)
	}
	return nil
}

// CheckRemote returns what is wrong with an address to connect to, if anything:
// it must be a host:port, or a path that has a slash.
func CheckRemote(address string) error {
	if Network(address) == "unix" && !strings.Contains(address, "/") || len(Split(address)) != 1 {
		return fmt.Errorf("%q: must be host:port, or the path of a socket file", address)
	}
	return Check(address)
}

// Host is the first host of a list, without brackets; empty if the list has
// socket files alone or its first host stands for all of the machine's
// addresses. It is for daemons that tell others where they are.
func Host(list string) string {
	for _, address := range Split(list) {
		if Network(address) != "tcp" {
			continue
		}
		host, _, _ := net.SplitHostPort(address)
		if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
			return ""
		}
		return host
	}
	return ""
}

// Flag returns a flag.Value for a list: it may be given several times, or once
// with commas. The first time, what the list was before is forgotten.
func Flag(list *string) *Addresses { return &Addresses{list: list} }

// Addresses is what Flag returns.
type Addresses struct {
	list  *string
	given bool
}

// String returns the list.
func (a *Addresses) String() string {
	if a.list == nil {
		return ""
	}
	return *a.list
}

// Set adds v to the list.
func (a *Addresses) Set(v string) error {
	if a.given && *a.list != "" && v != "" {
		v = *a.list + "," + v
	}
	a.given, *a.list = true, v
	return nil
}

// Get returns the list, a string as NSQ's.
func (a *Addresses) Get() any { return a.String() }

// Repeatable says that the flag may be given several times.
func (a *Addresses) Repeatable() bool { return true }

// Mode is a flag.Value for the permissions of socket files, in octal.
type Mode fs.FileMode

// String returns the permissions as they are set.
func (m *Mode) String() string { return fmt.Sprintf("%04o", uint32(*m)) }

// Set takes what String returns.
func (m *Mode) Set(v string) error {
	bits, err := strconv.ParseUint(v, 8, 9)
	if err != nil {
		return errors.New("must be " + m.Expects())
	}
	*m = Mode(bits)
	return nil
}

// Expects says what is taken.
func (m *Mode) Expects() string { return "permissions in octal, in quotes if in a file, such as 0660" }

// Get returns what String does.
func (m *Mode) Get() any { return m.String() }
