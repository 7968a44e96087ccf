package lookupd

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/millrace-mq/millrace/internal/listen"
	"github.com/millrace-mq/millrace/lookupd/registry"
	"github.com/millrace-mq/millrace/protocol"
)

const (
	// maxIdentify is the longest body of IDENTIFY in bytes. A daemon says some
	// 200 of them about itself.
	maxIdentify = 64 << 10
	// maxWord is the longest of the texts in it that only people read, in bytes:
	// they are told in every lookup of every topic.
	maxWord = 255
)

// errLine ends a conversation whose command line has no end within
// protocol.MaxLine. As on qd, the peer is told nothing.
var errLine = errors.New("a command line is too long")

// readLine reads a command line, without its newline and surrounding space. The
// bytes are valid until in is read again.
func readLine(in *bufio.Reader) ([]byte, error) {
	line, err := in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		line, err = readLong(in, line)
	}
	if err != nil {
		return nil, err
	}
	return bytes.TrimSpace(line), nil
}

// readLong reads on a line that does not fit into in's buffer. No daemon has such
// a command, so most connections need not have room for one.
func readLong(in *bufio.Reader, begun []byte) ([]byte, error) {
	line := bytes.Clone(begun)
	for {
		more, err := in.ReadSlice('\n')
		line = append(line, more...)
		full := errors.Is(err, bufio.ErrBufferFull)
		switch {
		case len(line) > protocol.MaxLine, full && len(line) == protocol.MaxLine:
			return nil, errLine
		case !full:
			return line, err
		}
	}
}

// splitLine takes a command line apart at single spaces. No command has more
// than four arguments; what follows them is left in one piece.
func splitLine(line []byte) (name string, args []string) {
	words := strings.SplitN(string(line), " ", 6)
	return words[0], words[1:]
}

// parseRegistration reads the arguments of command, which is REGISTER or
// UNREGISTER: a topic, and a channel or none. What follows is the extension's;
// from a peer that does not speak it, it is ignored.
func parseRegistration(command string, args []string, extended bool) (r registry.Registration, err error) {
	if len(args) == 0 {
		return r, protocol.Errorf(protocol.EInvalid, "%s insufficient number of params", command)
	}
	r.Topic = args[0]
	if len(args) > 1 {
		r.Channel = args[1]
	}
	if !protocol.ValidName(r.Topic) {
		return r, protocol.Errorf(protocol.EBadTopic, "%s topic name '%s' is not valid", command, r.Topic)
	}
	if r.Channel != "" && !protocol.ValidName(r.Channel) {
		return r, protocol.Errorf(protocol.EBadChannel, "%s channel name '%s' is not valid", command, r.Channel)
	}
	if !extended || len(args) <= 2 {
		return r, nil
	}
	if r.Generation, err = strconv.ParseUint(args[2], 10, 64); err != nil || r.Generation == 0 {
		return r, protocol.Errorf(protocol.EInvalid, "%s generation %s is not a number from 1 to 18446744073709551615", command, quote(args[2]))
	}
	switch rest := args[3:]; {
	case len(rest) == 0:
	case len(rest) == 1 && rest[0] == protocol.Paused && command == "REGISTER":
		r.Paused = true
	default:
		return r, protocol.Errorf(protocol.EInvalid, "%s %s cannot follow a generation", command, quote(strings.Join(rest, " ")))
	}
	return r, nil
}

// readIdentify reads the body of IDENTIFY, and the token in it, if there is one. What is allocated is no more than
// twice what has come.
func readIdentify(in io.Reader) (info protocol.PeerInfo, token string, err error) {
	var header [4]byte
	if _, err := io.ReadFull(in, header[:]); err != nil {
		return info, "", cutShort(err, "IDENTIFY failed to read body size")
	}
	// #nosec G115 -- the protocol's sizes and types are signed; what is negative is refused
	size := int32(binary.BigEndian.Uint32(header[:]))
	if size < 0 {
		return info, "", protocol.Errorf(protocol.EBadBody, "IDENTIFY invalid body size %d", size)
	}
	if size > maxIdentify {
		return info, "", protocol.Errorf(protocol.EBadBody, "IDENTIFY body too big %d > %d", size, maxIdentify)
	}
	var body bytes.Buffer
	if _, err := io.CopyN(&body, in, int64(size)); err != nil {
		return info, "", cutShort(err, "IDENTIFY failed to read body")
	}
	var said struct {
		Token string `json:"token"`
	}
	// Apart from the rest, which is kept and shown.
	if err := errors.Join(json.Unmarshal(body.Bytes(), &info), json.Unmarshal(body.Bytes(), &said)); err != nil {
		return info, "", protocol.Errorf(protocol.EBadBody, "IDENTIFY failed to decode JSON body")
	}
	if !info.Extended { // what has no meaning must not be shown
		info.Instance, info.State, info.HTTPSPort = "", "", 0
	}
	return info, said.Token, checkIdentity(info)
}

// cutShort is the error of a body that ends too soon: the peer is told text, if
// it still listens.
func cutShort(err error, text string) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return protocol.Errorf(protocol.EBadBody, "%s", text)
	}
	return fmt.Errorf("%s: %w", text, err)
}

// checkIdentity returns what is wrong with what a daemon says of itself, if
// anything. One that speaks the extension may have no HTTP, and says port 0;
// NSQ's answer to that is that fields are missing.
func checkIdentity(info protocol.PeerInfo) error {
	bad := func(format string, args ...any) error {
		return protocol.Errorf(protocol.EBadBody, "IDENTIFY "+format, args...)
	}
	web := isPort(info.HTTPPort) || info.Extended && info.HTTPPort == 0
	if info.BroadcastAddress == "" || !isPort(info.TCPPort) || !web || info.Version == "" {
		return bad("missing fields")
	}
	if why := listen.CheckBroadcast(info.BroadcastAddress); why != nil {
		return bad("broadcast_address %s %s: give the daemon a --broadcast-address that its clients can connect to", quote(info.BroadcastAddress), why)
	}
	for _, f := range []struct{ name, text string }{
		{"hostname", info.Hostname}, {"version", info.Version}, {"topology_zone", info.TopologyZone}, {"topology_region", info.TopologyRegion},
	} {
		if len(f.text) > maxWord {
			return bad("%s is longer than %d bytes", f.name, maxWord)
		}
	}
	if !info.Extended {
		return nil
	}
	if !protocol.ValidName(info.Instance) || protocol.Ephemeral(info.Instance) {
		return bad("instance %s is not 1 to 64 characters of a topic's alphabet", quote(info.Instance))
	}
	if info.State != "" && !info.State.Valid() {
		return bad("state %s is none of ready, draining and failing", quote(string(info.State)))
	}
	return nil
}

// quote is text that a peer has said as it is told in an error: one line, not too
// long.
func quote(text string) string {
	return strconv.QuoteToASCII(clip(text))
}

func isPort(n int) bool { return 0 < n && n < 1<<16 }
