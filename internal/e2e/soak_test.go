package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// The tests of this file need minutes and gigabytes; make soak runs them. What
// they measure they print.

const (
	manyDeferred = 10_000_000
	soonDeferred = 1000
	backlog      = 25_000_000
	bodySize     = 200
)

// flood publishes through one connection, with so many commands in each write
// and a few writes on their way. compose appends the nth command.
func flood(t *testing.T, address string, commands, each int, compose func(dst []byte, n int) []byte) {
	t.Helper()
	w, err := dial(address, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	writes := make(chan int, 8) // how many commands
	failed := make(chan error, 1)
	go func() { // ends when the connection does, or writes is closed
		defer close(failed)
		for n := range writes {
			for range n {
				kind, data, err := w.frame()
				if err == nil && (kind != protocol.FrameResponse || string(data) != protocol.OK) {
					err = fmt.Errorf("the answer is %s", data)
				}
				if err != nil {
					failed <- err
					_ = w.Close()
					return
				}
			}
		}
	}()
	var buf []byte
	for n := 0; n < commands && err == nil; {
		buf = buf[:0]
		end := min(n+each, commands)
		count := end - n
		for ; n < end; n++ {
			buf = compose(buf, n)
		}
		select {
		case writes <- count:
			_, err = w.Write(buf)
		case err = <-failed:
		}
	}
	close(writes)
	if answer := <-failed; answer != nil || err != nil {
		t.Fatalf("publishing: %v, %v", answer, err)
	}
}

// memory is what the process has resident, now and at most so far, in bytes; 0
// where that cannot be found out.
func (p *process) memory() (now, most int64) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			switch f[0] {
			case "VmRSS:":
				now = n << 10
			case "VmHWM:":
				most = n << 10
			}
		}
	}
	return now, most
}

// says logs what the process has resident, and returns it.
func (p *process) says(t *testing.T, when string) (now int64) {
	now, most := p.memory()
	t.Logf("%s: %d MB resident, %d MB at most", when, now/1e6, most/1e6)
	return now
}

// killAndStart kills qd with SIGKILL, and starts it again. took is how long it
// was until it answered.
func killAndStart(t *testing.T, d daemon, qd *process) (again *process, took time.Duration) {
	qd.signal(syscall.SIGKILL)
	<-qd.exited
	began := time.Now()
	again = d.start(t)
	return again, time.Since(began)
}

// Ten million messages that are due in hours cost little memory, and those that
// are due soon come in time, after a kill as well.
func TestSoakTenMillionDeferred(t *testing.T) {
	soaking(t)
	d := newDaemon(t, "--max-req-timeout=4h")
	qd := d.start(t)
	d.post(t, "/topic/create?topic=later", "")
	d.post(t, "/channel/create?topic=later&channel=all", "")
	body := bytes.Repeat([]byte{'x'}, bodySize)
	began := time.Now()
	flood(t, d.tcp, manyDeferred, 1000, func(dst []byte, n int) []byte {
		return protocol.AppendDPub(dst, "later", time.Hour+time.Duration(n*7919%7200)*time.Second, body)
	})
	took := time.Since(began)
	t.Logf("%d deferred publishes, one by one, in %v: %.0f a second", manyDeferred, took, manyDeferred/took.Seconds())
	for _, when := range []string{"before the kill", "after it"} {
		if now := qd.says(t, when); now > 1e9 {
			t.Errorf("%s qd has %d bytes resident, more than 1 GB", when, now)
		}
		soonOnes(t, d, when)
		qd.says(t, when+", with the soon ones delivered")
		qd, took = killAndStart(t, d, qd)
		t.Logf("killed: it answers after %v", took)
	}
}

// soonOnes publishes messages that are due in 3 to 8 s, and measures how late
// they come. Those of an earlier time that come again are counted.
func soonOnes(t *testing.T, d daemon, when string) {
	t.Helper()
	flood(t, d.tcp, soonDeferred, 10, func(dst []byte, n int) []byte {
		delay := 3*time.Second + time.Duration(n*5)*time.Millisecond
		return protocol.AppendDPub(dst, "later", delay, fmt.Appendf(nil, "%d %s", time.Now().Add(delay).UnixNano(), when))
	})
	w := subscribed(t, d, "later", "all")
	defer w.Close()
	late := make([]time.Duration, 0, soonDeferred)
	again := 0
	for len(late) < soonDeferred {
		m := receive(t, w)
		text, whose, _ := strings.Cut(string(m.Body), " ")
		due, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatalf("%s a message came that is due in hours", when)
		}
		if whose == when {
			late = append(late, time.Since(time.Unix(0, due)))
		} else {
			again++
		}
		if _, err := w.Write(protocol.AppendFin(nil, m.ID)); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(late)
	p99 := late[len(late)*99/100]
	t.Logf("%s: %d messages after their due time by p50 %v, p99 %v, at most %v; at least %v; %d earlier ones came again",
		when, len(late), late[len(late)/2], p99, late[len(late)-1], late[0], again)
	if late[0] < -5*time.Millisecond || p99 > 100*time.Millisecond {
		t.Errorf("%s messages did not come at their due time", when)
	}
	eventually(t, "the others to be all that is deferred", func() bool {
		_, channels := d.stats("later")
		return channels["all"].Deferred == manyDeferred && channels["all"].InFlight == 0
	})
	pause(t.Context(), forgetful) // so that what was finished is not forgotten
}

// subscribed is a connection with messages on their way.
func subscribed(t *testing.T, d daemon, topic, channel string) *wire {
	t.Helper()
	w, err := dial(d.tcp, 0)
	if err == nil {
		t.Cleanup(func() { _ = w.Close() })
		err = w.subscribe(topic, channel, 500)
	}
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func receive(t *testing.T, w *wire) protocol.Message {
	t.Helper()
	kind, data, err := w.frame()
	if err != nil || kind != protocol.FrameMessage {
		t.Fatalf("%v %q, %v instead of a message", kind, data, err)
	}
	m, err := protocol.ParseMessage(data)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A backlog of 5 GB is there seconds after a kill.
func TestSoakBacklog(t *testing.T) {
	soaking(t)
	d := newDaemon(t)
	messages := fitting(t, d.data)
	qd := d.start(t)
	d.post(t, "/topic/create?topic=orders", "")
	d.post(t, "/channel/create?topic=orders&channel=ship", "")
	const batch = 200
	texts := slices.Repeat([][]byte{bytes.Repeat([]byte{'x'}, bodySize)}, batch)
	began := time.Now()
	flood(t, d.tcp, messages/batch, 10, func(dst []byte, n int) []byte {
		texts[0] = fmt.Appendf(make([]byte, 0, bodySize), "%0*d", bodySize, n)
		return protocol.AppendMPub(dst, "orders", texts)
	})
	took := time.Since(began)
	t.Logf("%d messages of %d bytes published in %v: %.0f a second", messages, bodySize, took, float64(messages)/took.Seconds())
	qd.says(t, "with the backlog")
	qd, answers := killAndStart(t, d, qd)
	subscribing := time.Now()
	w := subscribed(t, d, "orders", "ship")
	if m := receive(t, w); string(m.Body) != strings.Repeat("0", bodySize) {
		t.Errorf("the first message is %q", m.Body)
	}
	t.Logf("killed: it answers after %v, and delivers %v after that", answers, time.Since(subscribing))
	qd.says(t, "after the kill")
	if answers > 10*time.Second {
		t.Errorf("it took %v to open a backlog of %d messages", answers, messages)
	}
	if _, channels := d.stats("orders"); channels["ship"].Depth+channels["ship"].InFlight != messages {
		t.Errorf("the channel has %d messages waiting and %d in flight, of %d", channels["ship"].Depth, channels["ship"].InFlight, messages)
	}
	_ = w.Close()
	drainBacklog(t, d, messages)
	qd.says(t, "after the backlog was consumed")
}

// fitting is how many messages there is disk space for, backlog at most.
func fitting(t *testing.T, dir string) int {
	const perMessage = 320 // bytes, with room to spare
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		t.Fatalf("asking for the free space of %s: %v", dir, err)
	}
	free := int(s.Bavail) * int(s.Bsize)
	n := min(backlog, free/perMessage/1000*1000)
	if n < backlog {
		t.Logf("%d bytes are free on %s, enough for %d messages only", free, dir, n)
	}
	return n
}

// drainBacklog consumes everything.
func drainBacklog(t *testing.T, d daemon, messages int) {
	began := time.Now()
	stop := inBackground(t, []func(context.Context){func(ctx context.Context) {
		keepTrying(ctx, func(ctx context.Context) error { return finishAll(ctx, d, "orders", "ship") })
	}})
	defer stop()
	deadline := time.Now().Add(10 * time.Minute)
	for left := messages; left > 0; {
		pause(t.Context(), 100*time.Millisecond)
		_, channels := d.stats("orders")
		if left = channels["ship"].Depth + channels["ship"].InFlight + channels["ship"].Deferred; time.Now().After(deadline) {
			t.Fatalf("%d messages are left after %v", left, time.Since(began))
		}
	}
	t.Logf("consumed by one connection in %v: %.0f a second", time.Since(began), float64(messages)/time.Since(began).Seconds())
}

// finishAll answers all that comes with FIN.
func finishAll(ctx context.Context, d daemon, topic, channel string) error {
	w, err := dial(d.tcp, 0)
	if err != nil {
		return err
	}
	defer w.Close()
	defer context.AfterFunc(ctx, func() { _ = w.Close() })()
	if err := w.subscribe(topic, channel, 2500); err != nil {
		return err
	}
	var fins []byte
	for {
		_, data, err := w.frame()
		if err != nil {
			return err
		}
		m, err := protocol.ParseMessage(data)
		if err != nil {
			return err
		}
		fins = protocol.AppendFin(fins, m.ID)
		if w.r.Buffered() > 0 && len(fins) < 16<<10 {
			continue
		}
		if _, err := w.Write(fins); err != nil {
			return err
		}
		fins = fins[:0]
	}
}
