package e2e

import (
	"fmt"
	"os"
	"syscall"
	"testing"
)

// The README's quick start, on ports of our own.
func TestNewcomersRun(t *testing.T) {
	tcp, http := address(t), address(t)
	l := newLookup(t)
	out := t.TempDir()
	standalone := start(t, nil, "standalone", "--data-path="+t.TempDir(),
		"--tcp-address="+tcp, "--http-address="+http,
		"--admin-http-address=127.0.0.1:0", "--lookupd-tcp-address="+l.tcp, "--lookupd-http-address="+l.http)
	answering(t, standalone, http)
	answering(t, standalone, l.http)

	want := ""
	for i := range 3 {
		line := fmt.Sprintf("hello world %d", i+1)
		post(t, http, "/put?topic=test", line)
		want += line + "\n"
	}
	toFile := start(t, nil, "to_file", "--topic=test", "--output-dir="+out, "--lookupd-http-address="+l.http)
	eventually(t, "the three lines in a file", func() bool { return content(t, files(t, out, "test*.log")) == want })
	toFile.stop(syscall.SIGTERM)
	standalone.stop(os.Interrupt)
	if got := content(t, files(t, out, "test*.log")); got != want {
		t.Errorf("after the stop the file holds %q, want %q", got, want)
	}
}
