package qd_test

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/internal/secure/securetest"
	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd"
)

// greeted answers the first connection to l as a lookupd does, and returns what it
// was told of the daemon.
func greeted(t *testing.T, l net.Listener) (info protocol.PeerInfo) {
	t.Helper()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	in := bufio.NewReader(conn)
	start, err := in.ReadString('\n')
	if err != nil || start != protocol.MagicV1+"IDENTIFY\n" {
		t.Fatalf("it begins with %q: %v", start, err)
	}
	var size uint32
	if err := binary.Read(in, binary.BigEndian, &size); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(in, body); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(body, &info); err != nil {
		t.Fatal(err)
	}
	const reply = `{"broadcast_address":"127.0.0.1","version":"1.3.0"}`
	if _, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(reply))), reply...)); err != nil {
		t.Fatal(err)
	}
	return info
}

// TestLookupdOverTLS registers with a lookupd behind TLS that asks for a
// certificate, as the same instance before a restart and after it.
func TestLookupdOverTLS(t *testing.T) {
	ours, err := securetest.NewAuthority("ours")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ours.Pair("lookupd")
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ours.Pool(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := settings(t)
	s.LookupdTLS, s.LookupdTCPAddresses = true, []string{l.Addr().String()}
	if s.LookupdTLSCert, s.LookupdTLSKey, s.LookupdTLSRootCAFile, err = ours.Write(t.TempDir(), "qd"); err != nil {
		t.Fatal(err)
	}
	instance := ""
	for range 2 {
		d, stop := start(t, s)
		info := greeted(t, l)
		if !info.Extended || info.State != protocol.PeerReady || !protocol.ValidName(info.Instance) || instance != "" && info.Instance != instance {
			t.Errorf("it was told %+v; the instance was %q", info, instance)
		}
		instance = info.Instance
		deadline := time.Now().Add(30 * time.Second)
		for status, answer := get(t, d, "/lookupds"); status != http.StatusOK || !strings.Contains(answer, `"linked":true`); status, answer = get(t, d, "/lookupds") {
			if time.Now().After(deadline) {
				t.Fatalf("%d %s", status, answer)
			}
			time.Sleep(time.Millisecond) // a moment between two looks; nothing else tells of the link
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
	other := s
	other.DataPath = t.TempDir()
	_, stop := start(t, other)
	if got := greeted(t, l).Instance; got == instance {
		t.Errorf("another data path is the instance %s, too", got)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	s.LookupdTLSRootCAFile += ".none"
	if _, err := qd.Listen(s, slog.New(slog.DiscardHandler), nil); err == nil || !strings.Contains(err.Error(), "lookupd-tls-root-ca-file") {
		t.Errorf("without the file it starts: %v", err)
	}
}
