package lookupd

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/millrace-mq/millrace/protocol"
)

// maxIdentify is the longest body of IDENTIFY in bytes. A daemon says some 200
// of them about itself.
const maxIdentify = 64 << 10

// errLine ends a conversation whose command line has no end within
// protocol.MaxLine. As on qd, the peer is told nothing.
var errLine = errors.New("a command line is too long")

// readLine reads a command line, without its newline and surrounding space.
// The bytes are valid until in is read again. in holds protocol.MaxLine bytes.
func readLine(in *bufio.Reader) ([]byte, error) {
	line, err := in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return nil, errLine
	}
	if err != nil {
		return nil, err
	}
	return bytes.TrimSpace(line), nil
}

// splitLine takes a command line apart at single spaces. No command has more
// than two arguments; what follows them is left in one piece.
func splitLine(line []byte) (name string, args []string) {
	words := strings.SplitN(string(line), " ", 4)
	return words[0], words[1:]
}

// names reads the arguments of REGISTER and UNREGISTER, which is what command
// says: a topic, and a channel or none. Surplus arguments are ignored.
func names(command string, args []string) (topic, channel string, err *protocol.Error) {
	if len(args) == 0 {
		return "", "", protocol.Errorf(protocol.EInvalid, "%s insufficient number of params", command)
	}
	topic = args[0]
	if len(args) > 1 {
		channel = args[1]
	}
	if !protocol.ValidName(topic) {
		return "", "", protocol.Errorf(protocol.EBadTopic, "%s topic name '%s' is not valid", command, topic)
	}
	if channel != "" && !protocol.ValidName(channel) {
		return "", "", protocol.Errorf(protocol.EBadChannel, "%s channel name '%s' is not valid", command, channel)
	}
	return topic, channel, nil
}

// readIdentify reads the body of IDENTIFY. Nothing is allocated for a body
// before its size is known to be within maxIdentify.
func readIdentify(in io.Reader) (info protocol.PeerInfo, refused *protocol.Error) {
	var header [4]byte
	if _, err := io.ReadFull(in, header[:]); err != nil {
		return info, protocol.Errorf(protocol.EBadBody, "IDENTIFY failed to read body size")
	}
	size := int32(binary.BigEndian.Uint32(header[:]))
	if size < 0 {
		return info, protocol.Errorf(protocol.EBadBody, "IDENTIFY invalid body size %d", size)
	}
	if size > maxIdentify {
		return info, protocol.Errorf(protocol.EBadBody, "IDENTIFY body too big %d > %d", size, maxIdentify)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(in, body); err != nil {
		return info, protocol.Errorf(protocol.EBadBody, "IDENTIFY failed to read body")
	}
	if err := json.Unmarshal(body, &info); err != nil {
		return info, protocol.Errorf(protocol.EBadBody, "IDENTIFY failed to decode JSON body")
	}
	if info.BroadcastAddress == "" || !isPort(info.TCPPort) || !isPort(info.HTTPPort) || info.Version == "" {
		return info, protocol.Errorf(protocol.EBadBody, "IDENTIFY missing fields")
	}
	return info, nil
}

func isPort(n int) bool { return 0 < n && n < 1<<16 }
