package registry

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"runtime"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

const (
	// batch is how many commands a daemon writes at once. Two batches may be
	// unanswered: the lookupd always has something to do, and the replies fit
	// into the socket's buffer, so neither side waits for the other to read.
	batch    = 512
	maxReply = 64 << 10
)

// daemon plays a qd or an nsqd towards a lookupd: one connection in V1. One
// goroutine at a time uses it.
type daemon struct {
	*cluster
	number int
	addr   string
	plain  bool
	stall  time.Duration

	conn     net.Conn // nil while it is away
	in       *bufio.Reader
	unwatch  func() bool
	extended bool
	resyncs  int // PINGs answered with the wish to hear everything again
}

// join connects and identifies. The connection ends with ctx.
func (d *daemon) join(ctx context.Context) (err error) {
	if d.conn, err = dial(ctx, d.addr, d.number, d.stall); err != nil {
		return fmt.Errorf("connecting to lookupd as daemon %d: %w", d.number, err)
	}
	conn := d.conn
	d.unwatch = context.AfterFunc(ctx, func() { _ = conn.Close() })
	d.in = bufio.NewReaderSize(d.conn, 4096)
	body, err := json.Marshal(d.info(d.number, !d.plain))
	if err == nil {
		err = d.write(protocol.AppendIdentify([]byte(protocol.MagicV1), body))
	}
	var reply []byte
	if err == nil {
		reply, err = d.reply()
	}
	var info protocol.PeerInfo
	if err == nil {
		if err = json.Unmarshal(reply, &info); err != nil {
			err = fmt.Errorf("lookupd answered %.200q", reply)
		}
	}
	if err != nil {
		return fmt.Errorf("identifying as daemon %d: %w", d.number, because(ctx, err))
	}
	d.extended = !d.plain && info.Extended
	return nil
}

// announce registers all that the daemon has.
func (d *daemon) announce(ctx context.Context) error {
	var lines []byte
	n, unanswered := d.registrations(d.number), 0
	for i := 0; i < n && ctx.Err() == nil; {
		upTo := min(i+batch, n)
		sent := upTo - i
		for lines = lines[:0]; i < upTo; i++ {
			lines = d.appendRegister(lines, d.number, i, d.extended)
		}
		if err := d.write(lines); err != nil {
			// A lookupd that refuses says so and hangs up: that is what there is to tell.
			if told := d.oks(unanswered + sent); told != nil {
				err = told
			}
			return fmt.Errorf("registering daemon %d: %w", d.number, because(ctx, err))
		}
		if err := d.oks(unanswered); err != nil {
			return fmt.Errorf("registering daemon %d: %w", d.number, because(ctx, err))
		}
		unanswered = sent
	}
	err := d.oks(unanswered)
	if err == nil && d.extended {
		if err = d.write([]byte("SYNCED\n")); err == nil {
			err = d.oks(1)
		}
	}
	if err != nil {
		return fmt.Errorf("registering daemon %d: %w", d.number, because(ctx, err))
	}
	return nil
}

// ping says that the daemon is alive, and says everything again if asked to.
func (d *daemon) ping(ctx context.Context) error {
	err := d.write([]byte("PING\n"))
	var reply []byte
	if err == nil {
		reply, err = d.reply()
	}
	switch {
	case err != nil:
	case string(reply) == protocol.OK:
		return nil
	case d.extended && string(reply) == protocol.Resync:
		d.resyncs++
		return d.announce(ctx)
	default:
		err = fmt.Errorf("lookupd answered %.200q", reply)
	}
	return fmt.Errorf("PING of daemon %d: %w", d.number, because(ctx, err))
}

// leave hangs up. It may be called at any time.
func (d *daemon) leave() {
	if d.conn == nil {
		return
	}
	d.unwatch()
	_ = d.conn.Close()
	d.conn = nil
}

func (d *daemon) write(b []byte) error {
	_ = d.conn.SetDeadline(time.Now().Add(d.stall))
	_, err := d.conn.Write(b)
	return err
}

// oks reads n replies, which must all be OK.
func (d *daemon) oks(n int) error {
	_ = d.conn.SetDeadline(time.Now().Add(d.stall))
	for range n {
		reply, err := d.reply()
		if err != nil {
			return err
		}
		if string(reply) != protocol.OK {
			return fmt.Errorf("lookupd answered %.200q", reply)
		}
	}
	return nil
}

// reply reads one reply, which is valid until the next.
func (d *daemon) reply() ([]byte, error) {
	header, err := d.in.Peek(4)
	if err != nil {
		return nil, err
	}
	size := int(binary.BigEndian.Uint32(header))
	if size > maxReply {
		return nil, fmt.Errorf("lookupd sent a reply of %d bytes", size)
	}
	if size+4 <= d.in.Size() {
		whole, err := d.in.Peek(4 + size)
		if err != nil {
			return nil, err
		}
		_, err = d.in.Discard(4 + size)
		return whole[4:], err
	}
	data := make([]byte, 4+size)
	_, err = io.ReadFull(d.in, data)
	return data[4:], err
}

// dial connects to addr; on Linux's loopback from the n-th of its addresses, so
// that a lookupd sees as many hosts as there are daemons, and no host runs out
// of ports.
func dial(ctx context.Context, addr string, n int, timeout time.Duration) (net.Conn, error) {
	d := net.Dialer{Timeout: timeout}
	if host, _, err := net.SplitHostPort(addr); err == nil && runtime.GOOS == "linux" {
		if ip := net.ParseIP(host).To4(); ip != nil && ip.IsLoopback() {
			d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(numbered("127.77.", n))}
		}
	}
	return d.DialContext(ctx, "tcp", addr)
}

// because is why a connection failed: the end of ctx, which closes it, before
// what the socket says about that.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}
