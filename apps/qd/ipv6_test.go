package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	millrace "github.com/millrace-mq/millrace/clients/go"
	"github.com/millrace-mq/millrace/lookupd"
	"github.com/millrace-mq/millrace/qd"
)

// chain runs a lookupd and a qd that registers with it, and has a message go
// through both. It returns what lookupd tells of qd.
func chain(t *testing.T, look lookupd.Settings, queue qd.Settings) (node map[string]any) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	l, err := lookupd.Listen(look, log)
	if err != nil {
		t.Fatal(err)
	}
	wg.Go(func() {
		if err := l.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	queue.DataPath = t.TempDir()
	if queue.LookupdTCPAddresses == nil {
		queue.LookupdTCPAddresses = []string{l.TCPAddr().String()}
	}
	q, err := qd.Listen(queue, log, nil)
	if err != nil {
		t.Fatal(err)
	}
	wg.Go(func() {
		if err := q.Run(ctx); err != nil {
			t.Error(err)
		}
	})

	throughBoth(t, q, l)
	return onlyNode(t, l)
}

// throughBoth publishes at q, and consumes what l finds.
func throughBoth(t *testing.T, q *qd.Daemon, l *lookupd.Daemon) {
	t.Helper()
	w, err := millrace.NewWriter(millrace.WriterConfig{Addresses: []string{q.TCPAddr().String()}})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Publish(t.Context(), "t", []byte("hello")); err != nil {
		t.Error(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	got := make(chan string, 1)
	reading, enough := context.WithCancel(t.Context())
	r, err := millrace.NewReader(millrace.ReaderConfig{
		Topic: "t", Channel: "c", Lookupds: []string{l.HTTPAddr().String()},
		Handler: millrace.HandlerFunc(func(_ context.Context, m *millrace.Message) error {
			got <- string(m.Body)
			enough()
			return nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Run(reading); err != nil {
		t.Error(err)
	}
	if body := <-got; body != "hello" {
		t.Errorf("got %q", body)
	}
}

// onlyNode is what lookupd tells of the one daemon that it knows.
func onlyNode(t *testing.T, l *lookupd.Daemon) map[string]any {
	t.Helper()
	answer, err := http.Get("http://" + l.HTTPAddr().String() + "/nodes")
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	var nodes struct{ Producers []map[string]any }
	if err != nil || json.Unmarshal(text, &nodes) != nil || len(nodes.Producers) != 1 {
		t.Fatalf("%v: nodes are %s", err, text)
	}
	return nodes.Producers[0]
}

// TestIPv6 goes the whole way on [::1]: publish, register, look up, consume.
func TestIPv6(t *testing.T) {
	look, queue := lookupd.DefaultSettings(), qd.Defaults()
	look.TCPAddress, look.HTTPAddress = "[::1]:0", "[::1]:0"
	queue.TCPAddress, queue.HTTPAddress = "[::1]:0", "[::1]:0"
	for _, broadcast := range []string{"", "::1", "[::1]"} {
		queue.BroadcastAddress = broadcast
		node := chain(t, look, queue)
		if node["broadcast_address"] != "::1" || !strings.HasPrefix(node["remote_address"].(string), "[::1]:") {
			t.Errorf("broadcast address %q: the node is %v", broadcast, node)
		}
	}
}

// TestLookupdBySocketFile has qd register through a file, on the same machine.
func TestLookupdBySocketFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lookupd.sock")
	look, queue := lookupd.DefaultSettings(), qd.Defaults()
	look.TCPAddress, look.HTTPAddress = "127.0.0.1:0,"+path, "127.0.0.1:0"
	queue.TCPAddress, queue.HTTPAddress = "127.0.0.1:0", "127.0.0.1:0"
	queue.LookupdTCPAddresses = []string{path}
	if node := chain(t, look, queue); node["remote_address"] != path {
		t.Errorf("the node is %v", node)
	}
}
