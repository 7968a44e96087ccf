package gonsq

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/nsqio/go-nsq"
)

// patience is how long anything that must happen may take; nothing waits it
// out unless it fails.
const patience = 30 * time.Second

// programs is the folder with qd and lookupd.
var programs = os.Getenv("MILLRACE_PROGRAMS")

func TestMain(m *testing.M) {
	if programs == "" {
		fmt.Println("skipped: MILLRACE_PROGRAMS does not name the folder with qd and lookupd")
		if os.Getenv("CI") == "true" {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A house is a qd and the lookupd that it is registered with.
type house struct {
	qdTCP, qdHTTP, lookupdHTTP string
}

// startHouse starts both daemons, qd with more flags if need be; they are
// stopped, and must stop in order, when the test ends.
func startHouse(t *testing.T, flags ...string) house {
	t.Helper()
	h := house{address(t), address(t), address(t)}
	lookupdTCP := address(t)
	start(t, h.lookupdHTTP, filepath.Join(programs, "lookupd"),
		"--tcp-address="+lookupdTCP, "--http-address="+h.lookupdHTTP)
	start(t, h.qdHTTP, filepath.Join(programs, "qd"), append(flags,
		"--tcp-address="+h.qdTCP, "--http-address="+h.qdHTTP, "--broadcast-address=127.0.0.1",
		"--data-path="+t.TempDir(), "--lookupd-tcp-address="+lookupdTCP)...)
	return h
}

// start runs a daemon until the test ends and returns once it answers pings on
// httpAddress.
func start(t *testing.T, httpAddress, program string, args ...string) {
	t.Helper()
	var log bytes.Buffer // read after Wait only
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt) // what is left is not waited for
		var err error
		select {
		case err = <-exited:
		case <-time.After(patience):
			_ = cmd.Process.Kill()
			err = fmt.Errorf("%w after %v without an end", <-exited, patience)
		}
		if err != nil {
			t.Errorf("%s: %v", filepath.Base(program), err)
		}
		if t.Failed() {
			t.Logf("%s said\n%s", filepath.Base(program), log.String())
		}
	})
	eventually(t, filepath.Base(program)+" to answer", func() bool {
		r, err := http.Get("http://" + httpAddress + "/ping")
		if err != nil {
			return false
		}
		defer r.Body.Close()
		return r.StatusCode == http.StatusOK
	})
}

// address returns a loopback address that nobody listens on, below the ports
// that outgoing connections are given.
func address(t *testing.T) string {
	t.Helper()
	for range 1000 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(5000)))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no free port found")
	return ""
}

// post sends an empty POST to qd's HTTP face and wants 200.
func (h house) post(t *testing.T, path string) {
	t.Helper()
	r, err := http.Post("http://"+h.qdHTTP+path, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		t.Fatalf("POST %s: %s", path, r.Status)
	}
}

// producer returns a go-nsq producer that is stopped when the test ends.
func (h house) producer(t *testing.T) *nsq.Producer {
	t.Helper()
	return h.producerWith(t, nil)
}

// configure sets go-nsq options.
func configure(t *testing.T, config *nsq.Config, settings map[string]any) {
	t.Helper()
	for name, value := range settings {
		if err := config.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
}

func (h house) producerWith(t *testing.T, settings map[string]any) *nsq.Producer {
	t.Helper()
	config := nsq.NewConfig()
	configure(t, config, settings)
	p, err := nsq.NewProducer(h.qdTCP, config)
	if err != nil {
		t.Fatal(err)
	}
	p.SetLoggerLevel(nsq.LogLevelWarning)
	t.Cleanup(p.Stop)
	return p
}

// consume hands topic's messages to handle, one at a time, finding qd through
// lookupd, and stops when the test ends. The settings are go-nsq options.
func (h house) consume(t *testing.T, topic, channel string, handle nsq.HandlerFunc, settings map[string]any) {
	t.Helper()
	config := nsq.NewConfig()
	config.LookupdPollInterval = 50 * time.Millisecond
	config.MaxInFlight = 50
	configure(t, config, settings)
	c, err := nsq.NewConsumer(topic, channel, config)
	if err != nil {
		t.Fatal(err)
	}
	c.SetLoggerLevel(nsq.LogLevelWarning)
	c.AddHandler(handle)
	if err := c.ConnectToNSQLookupd(h.lookupdHTTP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Stop()
		select {
		case <-c.StopChan:
		case <-time.After(patience):
			t.Errorf("the consumer of %s/%s did not stop", topic, channel)
		}
	})
}

// eventually waits until done; what names what is waited for.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

// receive returns the next value, or fails when none comes.
func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("nothing came for %v", patience)
		panic("unreachable")
	}
}
