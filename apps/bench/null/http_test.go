package null

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

func TestHTTP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- RunHTTP(ctx, l) }()
	for _, path := range []string{"/pub?topic=t", "/topic/create?topic=t"} {
		answer, err := http.Post("http://"+l.Addr().String()+path, "", strings.NewReader("hello"))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if string(body) != "OK" || answer.StatusCode != http.StatusOK || err != nil {
			t.Errorf("%s: %s %q, %v", path, answer.Status, body, err)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	l, err = net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if err := RunHTTP(t.Context(), l); err == nil {
		t.Error("a closed listener is no error")
	}
}
