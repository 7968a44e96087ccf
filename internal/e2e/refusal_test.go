package e2e

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What cannot be done is said in one line, with exit status 1, whichever
// program it is asked of.
func TestRefusals(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	busy := l.Addr().String()

	running := newDaemon(t)
	running.start(t)

	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	closed := "/proc" // to root every folder is open, but nobody can create a file here
	if os.Geteuid() != 0 {
		closed = filepath.Join(t.TempDir(), "closed")
		if err := os.Mkdir(closed, 0); err != nil {
			t.Fatal(err)
		}
	}
	// A qd and a lookupd that would work but for the flag that follows.
	qd := func(flag string) []string { return append(newDaemon(t).args(), flag) }
	lookupd := func(flag string) []string {
		return []string{"--tcp-address=" + address(t), "--http-address=" + address(t), flag}
	}
	toFile := func(flag string) []string {
		return []string{"--topic=t", "--output-dir=" + t.TempDir(), "--qd-tcp-address=" + running.tcp, flag}
	}
	tests := []struct {
		name, program string
		args          []string
		says          string
	}{
		{"the data folder is another qd's", "qd", qd("--data-path=" + running.data), running.data},
		{"unknown flag", "qd", qd("--frobnicate"), "frobnicate"},
		{"bad value", "qd", qd("--mem-queue-size=many"), "mem-queue-size"},
		{"stray argument", "qd", qd("stray"), "stray"},
		{"data folder missing", "qd", qd("--data-path=" + file + "-not"), "file-not"},
		{"data folder is a file", "qd", qd("--data-path=" + file), file},
		{"data folder closed", "qd", qd("--data-path=" + closed), closed},
		{"TCP port taken", "qd", qd("--tcp-address=" + busy), busy},
		{"HTTP port taken", "qd", qd("--http-address=" + busy), busy},
		{"unknown flag", "lookupd", lookupd("--frobnicate"), "frobnicate"},
		{"stray argument", "lookupd", lookupd("stray"), "stray"},
		{"TCP port taken", "lookupd", lookupd("--tcp-address=" + busy), busy},
		{"HTTP port taken", "lookupd", lookupd("--http-address=" + busy), busy},
		{"unknown flag", "to_file", toFile("--frobnicate"), "frobnicate"},
		{"output folder below a file", "to_file", toFile("--output-dir=" + file + "/out"), file},
		{"output folder closed", "to_file", toFile("--output-dir=" + closed), closed},
		{"no topic", "to_file", []string{"--qd-tcp-address=" + running.tcp}, "topic"},
		{"no daemon named", "to_file", []string{"--topic=t"}, "address"},
		{"unknown flag", "pub", []string{"--frobnicate"}, "frobnicate"},
		{"no topic", "pub", []string{"--qd-tcp-address=" + running.tcp}, "topic"},
		{"no daemon named", "pub", []string{"--topic=t"}, "address"},
		{"unknown flag", "tail", []string{"--frobnicate"}, "frobnicate"},
		{"no topic", "tail", []string{"--qd-tcp-address=" + running.tcp}, "topic"},
		{"no daemon named", "tail", []string{"--topic=t"}, "address"},
	}
	for _, tt := range tests {
		t.Run(tt.program+"/"+tt.name, func(t *testing.T) {
			p := start(t, nil, tt.program, tt.args...)
			if got := p.status(); got != 1 {
				t.Errorf("ended with status %d, want 1", got)
			}
			said := p.stderr.lines()
			if len(said) != 1 || !strings.HasPrefix(said[0], tt.program+": ") || !strings.Contains(said[0], tt.says) {
				t.Errorf("said %q, want one line that begins with %q and names %q", said, tt.program+": ", tt.says)
			}
			if out := p.stdout.lines(); len(out) != 0 {
				t.Errorf("wrote %q to standard output", out)
			}
		})
	}
}
