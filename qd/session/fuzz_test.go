package session_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// FuzzSession gives a session whatever bytes after the magic, in two parts. It
// must neither panic nor hang, send nothing but frames, and leave the books in
// balance.
func FuzzSession(f *testing.F) {
	said, _ := transcript()
	for _, seed := range []string{
		said, "NOP\n", pub("t", "body"), mpub("t", "a", "b"), "SUB t ch\nRDY 1\n" + pub("t", "body"),
		"SUB t ch\nRDY 10\n" + mpub("t", "a", "b", "c") + "FIN 0000000400000000\nREQ 0000000400000001 0\nTOUCH 0000000400000002\nCLS\n",
		"IDENTIFY\n\x00\x00\x00\x1c{\"heartbeat_interval\":1000}\n", "SUB t#ephemeral ch#ephemeral\n", "DPUB t 1\n\x00\x00\x00\x01x",
		"MPUB t\n\x00\x00\x00\x09\x00\x00\x00\x02\x00\x00\x00\x01a", "AUTH\n\x00\x00\x00\x01x", "\n \r\n", "RDY 99999999999999999999\n",
		identifying(`{"feature_negotiation":true,"millrace":{"channel_start":"earliest"}}`) + "SUB t ch\nRDY 1\nSEEK earliest\nSEEK x\n",
	} {
		f.Add([]byte(seed), uint16(len(seed)/2))
		f.Add([]byte(seed), uint16(5))
	}
	s := limits()
	s.MaxMsgSize, s.MaxBodySize, s.MaxRdyCount = 1<<10, 4<<10, 100
	l := newListener()
	d := start(f, s, l)
	f.Fuzz(func(t *testing.T, said []byte, cut uint16) {
		topic, err := d.broker.Topic(t.Context(), "t") // so that there is something to deliver
		if err == nil {
			err = topic.Publish([][]byte{[]byte("one"), []byte("two"), []byte("three")})
		}
		if err != nil {
			t.Fatal(err)
		}
		c := l.dial("c", 64<<20)
		_ = c.SetDeadline(time.Now().Add(patience))
		at := min(int(cut), len(said))
		_, _ = io.WriteString(c, protocol.MagicV2+string(said[:at]))
		_, _ = c.Write(said[at:])
		_ = c.CloseWrite()
		onlyFrames(t, c)
		_ = c.Close()
		if err := d.books(); err != nil {
			t.Error(err)
		}
		for _, topic := range d.broker.Topics() {
			if err := d.broker.DeleteTopic(topic.Name()); err != nil {
				t.Error(err)
			}
		}
	})
}

// onlyFrames reads to the end, which comes after a whole frame.
func onlyFrames(t *testing.T, r io.Reader) {
	t.Helper()
	for {
		kind, data, err := protocol.ReadFrame(r, nil, 1<<20)
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatalf("what was sent is not frames: %v", err)
		}
		known := kind == protocol.FrameMessage || kind == protocol.FrameError && strings.HasPrefix(string(data), "E_")
		if !known && kind != protocol.FrameResponse {
			t.Fatalf("%v %q was sent", kind, data)
		}
	}
}
