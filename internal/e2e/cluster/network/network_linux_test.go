package network

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"golang.org/x/sys/unix"
)

// patience is how long anything that must happen may take.
const patience = 60 * time.Second

// made returns a network that runs until the test ends, which leaves nothing
// behind.
func made(t *testing.T, names ...string) *Network {
	t.Helper()
	before := goleak.IgnoreCurrent()
	n, err := New(1, names...)
	if errors.Is(err, ErrMissing) && os.Getenv("CI") != "true" {
		t.Skipf("skipped: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- n.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		goleak.VerifyNone(t, before)
	})
	return n
}

// echo has the host answer all that it is sent on port 7, until the test ends.
func echo(t *testing.T, h *Host) (address string) {
	t.Helper()
	var l net.Listener
	err := h.Do(func() (err error) {
		l, err = net.Listen("tcp", h.Address()+":7")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			hangUp := context.AfterFunc(ctx, func() { _ = c.Close() })
			serving.Go(func() {
				_, _ = io.Copy(c, c)
				if hangUp() {
					_ = c.Close()
				}
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); cancel(); serving.Wait() })
	return l.Addr().String()
}

func connected(t *testing.T, from *Host, address string) net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := from.DialContext(ctx, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// says sends text and waits for it to come back, no longer than d.
func says(c net.Conn, text string, d time.Duration) error {
	_ = c.SetDeadline(time.Now().Add(d))
	if _, err := io.WriteString(c, text); err != nil {
		return err
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if string(got) != text {
		return fmt.Errorf("%q came back as %q", text, got)
	}
	return nil
}

func TestPassesOn(t *testing.T) {
	n := made(t, "a", "b", "c")
	a, b := n.Hosts()[0], n.Hosts()[1]
	c := connected(t, a, echo(t, b))
	if err := says(c, strings.Repeat("0123456789", 20_000), patience); err != nil {
		t.Error(err)
	}
	if host, _, _ := net.SplitHostPort(c.LocalAddr().String()); host != a.Address() {
		t.Errorf("the connection comes from %s, want %s", host, a.Address())
	}
}

func TestCut(t *testing.T) {
	tests := []struct {
		name        string
		there, back bool
	}{{"both directions", true, true}, {"there", true, false}, {"back", false, true}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := made(t, "a", "b", "c")
			a, b, other := n.Hosts()[0], n.Hosts()[1], n.Hosts()[2]
			address := echo(t, b)
			c := connected(t, a, address)
			n.Set(a, b, Link{Cut: tt.there})
			n.Set(b, a, Link{Cut: tt.back})
			if err := says(c, "hello", 300*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("said over a cut link: %v, want silence", err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if _, err := a.DialContext(ctx, "tcp", address); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("dialled over a cut link: %v, want silence", err)
			}
			n.Set(a, b, Link{})
			n.Set(b, a, Link{})
			if err := says(connected(t, other, address), "hello", patience); err != nil {
				t.Errorf("said by a third: %v", err)
			}
			if err := says(connected(t, a, address), "hello", patience); err != nil {
				t.Errorf("said when the link was healed: %v", err)
			}
		})
	}
}

func TestDelay(t *testing.T) {
	n := made(t, "a", "b")
	a, b := n.Hosts()[0], n.Hosts()[1]
	c := connected(t, a, echo(t, b))
	const delay = 50 * time.Millisecond
	n.Set(a, b, Link{Delay: delay})
	n.Set(b, a, Link{Delay: delay})
	for range 3 {
		began := time.Now()
		if err := says(c, "hello", patience); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < 2*delay {
			t.Errorf("there and back took %v, less than twice %v", took, delay)
		}
	}
	// Many packets under way, and a delay that becomes less.
	n.Set(a, b, Link{Delay: delay / 50})
	n.Set(b, a, Link{})
	if err := says(c, strings.Repeat("0123456789", 20_000), patience); err != nil {
		t.Error(err)
	}
}

// Loss is seen beneath TCP, which hides it.
func TestLoss(t *testing.T) {
	n := made(t, "a", "b")
	a, b := n.Hosts()[0], n.Hosts()[1]
	n.Set(a, b, Link{Loss: 0.5})
	var server net.PacketConn
	err := b.Do(func() (err error) {
		server, err = net.ListenPacket("udp", b.Address()+":7")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	client, err := a.DialContext(t.Context(), "udp", server.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	passed, lost := n.Counts()
	const sent = 1000
	for range sent {
		if _, err := client.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		// One at a time, or the device's own queue would lose some.
		for {
			p, l := n.Counts()
			if p+l > passed+lost {
				passed, lost = p, l
				break
			}
			time.Sleep(10 * time.Microsecond)
		}
	}
	if lost < sent*4/10 || lost > sent*6/10 {
		t.Errorf("%d of %d packets were lost, want about half", lost, sent)
	}
}

// A process starts on the host, and dies with the network.
// threadApart is the thread that apart takes on the main thread, where init runs.
var threadApart = func() (id int) {
	apart(func() { id = unix.Gettid() })
	return id
}()

func TestTheMainThreadIsNoHost(t *testing.T) {
	if threadApart == 0 || threadApart == unix.Getpid() {
		t.Errorf("a host would live on thread %d of process %d", threadApart, unix.Getpid())
	}
}

func TestProcess(t *testing.T) {
	n := made(t, "a")
	a := n.Hosts()[0]
	var out bytes.Buffer
	cmd := exec.Command("cat", "/proc/net/dev")
	cmd.Stdout = &out
	if err := a.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); !strings.Contains(text, device) || strings.Contains(text, "eth0") {
		t.Errorf("the process sees the devices\n%s", text)
	}
	lasting := exec.Command("sleep", "3600")
	if err := a.Start(lasting); err != nil {
		t.Fatal(err)
	}
	a.takeAway()
	if err := lasting.Wait(); err == nil || lasting.ProcessState.String() != "signal: killed" {
		t.Errorf("the process ended with %v, want it killed", lasting.ProcessState)
	}
}
