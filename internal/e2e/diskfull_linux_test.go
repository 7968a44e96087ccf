package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/internal/e2e/ledger"
	"github.com/millrace-mq/millrace/internal/e2e/testenv"
	"github.com/millrace-mq/millrace/protocol"
)

const (
	smallDisk = 64 << 20
	floor     = 16 << 20
	// inNamespace is set for the run of the test that is in a namespace where it
	// may mount.
	inNamespace = "MILLRACE_MAY_MOUNT"
	// retried is long enough for qd to have tried again whether the disk works.
	retried = 1500 * time.Millisecond
	noMount = "skipped: the tests of a full disk need to mount a small one"
)

// A disk that is full refuses publishes, loses nothing, lets consumers go on,
// and is used again when they have made room. The disk is a real one, mounted
// for the test.
func TestDiskFull(t *testing.T) {
	if err := tryMount(t.TempDir()); err != nil {
		if os.Getenv(inNamespace) != "" {
			t.Fatalf("%s: %v", noMount, err)
		}
		elsewhere(t)
		return
	}
	tests := []struct {
		name  string
		floor int
		says  string // in the refusal
		kill  bool   // while the disk is full
	}{
		{"the floor is reached", floor, fmt.Sprintf("below the floor of %d", floor), false},
		{"the floor is reached, and qd killed", floor, fmt.Sprintf("below the floor of %d", floor), true},
		{"it is full", 0, syscall.ENOSPC.Error(), false},
		{"it is full, and qd killed", 0, syscall.ENOSPC.Error(), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFilling(t, tt.floor)
			refusal := f.publishUntilRefused(t)
			t.Logf("%d messages published, then: %v", f.acknowledged, refusal)
			if refusal.Code != protocol.EMPubFailed || !strings.Contains(refusal.Text, tt.says) {
				t.Errorf("refused with %v, want %s … %s", refusal, protocol.EMPubFailed, tt.says)
			}
			f.refusesHTTP(t, tt.says)
			eventually(t, "/ping to answer NOK", func() bool { return strings.HasPrefix(f.ping(), "500 NOK") })
			pause(t.Context(), retried)
			if tt.kill {
				f.restart(t)
			}
			f.drain(t)
			f.publishAgain(t)
			f.drain(t)
			f.qd.stop(syscall.SIGTERM)
			v := f.books.Audit(forgetful)
			if t.Logf("%v", v); v.Broken() > 0 {
				t.Errorf("%d promises were broken: %v\n%s", v.Broken(), v, strings.Join(v.Faults, "\n"))
			}
		})
	}
}

// tryMount mounts a small disk at dir and takes it away again.
func tryMount(dir string) error {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		return err
	}
	return syscall.Unmount(dir, 0)
}

// elsewhere runs the test in a user and mount namespace of its own, where it may
// mount.
func elsewhere(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	again := exec.Command(self, "-test.run=^"+t.Name()+"$", "-test.v")
	again.Env = append(os.Environ(), inNamespace+"=1", testenv.ProgramsAre+"="+programs)
	again.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := again.CombinedOutput()
	switch exit := (*exec.ExitError)(nil); {
	case err == nil:
		t.Logf("in a namespace of its own:\n%s", out)
	case !errors.As(err, &exit) || strings.Contains(string(out), noMount):
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s, and may not: %v\n%s", noMount, err, out)
		}
		t.Skip(noMount)
	default:
		t.Fatalf("%v\n%s", err, out)
	}
}

// filling is a daemon on a small disk, a publisher that fills it and a consumer
// that empties it.
type filling struct {
	daemon       daemon
	qd           *process
	books        *ledger.Ledger
	lane         *ledger.Lane
	channel      *ledger.Channel
	reader       *ledger.Reader
	acknowledged int
}

func newFilling(t *testing.T, floor int) *filling {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, fmt.Sprintf("size=%d", smallDisk)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	d := newDaemon(t, "--segment-bytes=1048576", fmt.Sprintf("--min-free-disk=%d", floor))
	d.data = disk
	books := ledger.New()
	f := &filling{daemon: d, books: books, qd: d.start(t), lane: books.AddLane("orders", false), channel: books.AddChannel("orders", "ship", true)}
	f.reader = f.channel.Reader()
	d.post(t, "/topic/create?topic=orders", "")
	d.post(t, "/channel/create?topic=orders&channel=ship", "")
	return f
}

// publish publishes batches until one is refused, or enough are acknowledged.
func (f *filling) publish(t *testing.T, enough int) *protocol.Error {
	t.Helper()
	w, err := dial(f.daemon.tcp, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	const batch = 100
	for range (enough + batch - 1) / batch {
		first := f.lane.Attempt(batch)
		if _, err := w.Write(protocol.AppendMPub(nil, "orders", bodies(first, batch))); err != nil {
			t.Fatal(err)
		}
		kind, data, err := w.frame()
		if err != nil {
			t.Fatal(err)
		}
		if kind == protocol.FrameError {
			return protocol.ParseError(data)
		}
		f.lane.Acknowledge(first, batch)
		f.acknowledged += batch
	}
	return nil
}

// publishUntilRefused fills the disk.
func (f *filling) publishUntilRefused(t *testing.T) *protocol.Error {
	t.Helper()
	refusal := f.publish(t, smallDisk/10)
	if refusal == nil {
		t.Fatalf("%d messages were published to a disk of %d bytes", f.acknowledged, smallDisk)
	}
	return refusal
}

// refusesHTTP wants an error from /mpub that says why.
func (f *filling) refusesHTTP(t *testing.T, why string) {
	t.Helper()
	const batch = 1000
	content := protocol.AppendBatch(nil, bodies(f.lane.Attempt(batch), batch))
	r, err := client.Post("http://"+f.daemon.http+"/mpub?topic=orders&binary=true", "", bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, _ := io.ReadAll(r.Body)
	if r.StatusCode < http.StatusInternalServerError || !strings.Contains(string(text), why) {
		t.Errorf("/mpub to a full disk is answered %s %s, want an error that names: %s", r.Status, text, why)
	}
}

// ping is what /ping answers: its status and text.
func (f *filling) ping() string {
	r, err := client.Get("http://" + f.daemon.http + "/ping")
	if err != nil {
		return err.Error()
	}
	defer r.Body.Close()
	text, _ := io.ReadAll(r.Body)
	return fmt.Sprintf("%d %s", r.StatusCode, text)
}

// restart kills qd, and starts it on the disk that is full.
func (f *filling) restart(t *testing.T) {
	t.Helper()
	at := time.Now()
	f.qd.signal(syscall.SIGKILL)
	<-f.qd.exited
	f.books.Killed(at)
	f.qd = start(t, nil, "qd", f.daemon.args()...)
	eventually(t, "qd to answer on a full disk", func() bool {
		if !f.qd.running() {
			t.Fatalf("qd ended with status %d instead of starting on a full disk", f.qd.status())
		}
		return strings.HasPrefix(f.ping(), "500 NOK") || strings.HasPrefix(f.ping(), "200 OK")
	})
}

// drain consumes until the channel is empty. Now and then a message is requeued.
func (f *filling) drain(t *testing.T) {
	t.Helper()
	c := &consumer{
		daemon: f.daemon, topic: "orders", channel: "ship", manner: manner{ready: 1000, requeue: 97},
		reader: f.reader, kind: func() bool { return false },
	}
	stop := inBackground(t, []func(context.Context){func(ctx context.Context) { keepTrying(ctx, c.consume) }})
	defer stop()
	eventually(t, "the channel to be drained", func() bool { return f.daemon.drained("orders", "ship") })
}

// publishAgain wants qd to accept publishes again by itself.
func (f *filling) publishAgain(t *testing.T) {
	t.Helper()
	eventually(t, "/ping to answer OK", func() bool { return f.ping() == "200 OK" })
	if refusal := f.publish(t, 10_000); refusal != nil {
		t.Fatalf("publishes are still refused after the channel was drained: %v", refusal)
	}
}
