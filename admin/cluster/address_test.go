package cluster_test

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/millrace-mq/millrace/admin/cluster"
)

func TestCheckAddress(t *testing.T) {
	for _, right := range []string{
		"a:1", "127.0.0.1:4151", "[::1]:4151", "[fe80::1%eth0]:4151", "my_host-1.example:65535", "xn--bcher-kva.example:80",
	} {
		if err := cluster.CheckAddress(right); err != nil {
			t.Errorf("%s: %v", right, err)
		}
	}
	for _, wrong := range []string{
		"", ":", "a", "a:", ":1", "a:0", "a:65536", "a:-1", "a:+1", "a:01", "a:http", "::1:4151", "[::1]", "[a]:1:1", "http://a:1", "https://a:1/",
		"a/b:1", "a:1/b", "u@a:1", "u:p@a:1", "a?b:1", "a#b:1", "a b:1", "a\n:1", "a%2f:1", "[fe80::1%a/b]:1", "[::1%]:1", "bücher:1", "a\x00:1",
		strings.Repeat("a", 254) + ":1", strings.Repeat("a", 1<<20),
	} {
		if err := cluster.CheckAddress(wrong); err == nil || len(err.Error()) > 300 {
			t.Errorf("%.100q: %v", wrong, err)
		}
	}
}

// countDials counts connections.
func countDials(dial func(context.Context, string, string) (net.Conn, error), n *atomic.Int32) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		n.Add(1)
		return dial(ctx, network, address)
	}
}
