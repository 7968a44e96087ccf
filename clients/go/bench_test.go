package millrace

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// serveNull accepts connections on loopback until the benchmark ends, and gives
// each, greeted, to serve: a broker that does nothing but speak.
func serveNull(b testing.TB, serve func(nc net.Conn, in *bufio.Reader)) (address string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	b.Cleanup(func() { _ = l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			in := bufio.NewReaderSize(nc, 256<<10)
			_, _ = io.CopyN(io.Discard, in, 4)
			_, _, _ = nullCommand(in)
			_, _ = nc.Write(protocol.AppendFrame(nil, protocol.FrameResponse, `{"max_rdy_count":1000000,"msg_timeout":60000}`))
			serve(nc, in)
			_ = nc.Close()
		}
	}()
	return l.Addr().String()
}

func nullCommand(in *bufio.Reader) (line []byte, size int, err error) {
	line, err = in.ReadSlice('\n')
	if err != nil || line[0] != 'I' && line[0] != 'P' && line[0] != 'M' {
		return line, 0, err
	}
	head, err := in.Peek(4)
	if err != nil {
		return line, 0, err
	}
	size = int(head[0])<<24 | int(head[1])<<16 | int(head[2])<<8 | int(head[3])
	_, err = in.Discard(4 + size)
	return line, size, err
}

func answerAll(nc net.Conn, in *bufio.Reader) {
	ok := protocol.AppendFrame(nil, protocol.FrameResponse, protocol.OK)
	var out []byte
	for {
		if _, _, err := nullCommand(in); err != nil {
			return
		}
		if out = append(out, ok...); in.Buffered() < 64 {
			if _, err := nc.Write(out); err != nil {
				return
			}
			out = out[:0]
		}
	}
}

// flood sends messages as fast as the credit allows, until total were finished.
func flood(total int) func(nc net.Conn, in *bufio.Reader) {
	const run = 512
	var frames []byte
	for range run {
		frames = protocol.AppendMessage(frames, 1, 1, 77, bytes.Repeat([]byte{'x'}, 200))
	}
	size := len(frames) / run
	return func(nc net.Conn, in *bufio.Reader) {
		ready, sent, finished := 0, 0, 0
		for finished < total {
			line, _, err := nullCommand(in)
			if err != nil {
				return
			}
			switch line[0] {
			case 'S':
				_, _ = nc.Write(protocol.AppendFrame(nil, protocol.FrameResponse, protocol.OK))
			case 'R':
				ready, _ = strconv.Atoi(strings.TrimSpace(string(line[4:])))
			case 'F':
				finished++
			}
			for in.Buffered() < 21 && sent < total && sent-finished < ready {
				n := min(ready-(sent-finished), total-sent, run)
				if _, err := nc.Write(frames[:n*size]); err != nil {
					return
				}
				sent += n
			}
		}
	}
}

func benchmarkConsume(b *testing.B, inFlight, concurrency int) {
	address := serveNull(b, flood(b.N))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r, err := NewReader(ReaderConfig{
		Topic: "t", Channel: "c", Addresses: []string{address}, MaxInFlight: inFlight, Concurrency: concurrency,
		Handler: HandlerFunc(func(context.Context, *Message) error { return nil }),
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(200)
	b.ResetTimer()
	ended := make(chan error)
	go func() { ended <- r.Run(ctx) }()
	for r.Stats().Finished < uint64(b.N) {
		time.Sleep(100 * time.Microsecond) // a look costs the Reader's lock
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
	cancel()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
}

func BenchmarkConsume(b *testing.B) {
	for _, inFlight := range []int{200, 2500} {
		for _, concurrency := range []int{1, 4} {
			b.Run(fmt.Sprintf("inflight=%d/concurrency=%d", inFlight, concurrency), func(b *testing.B) {
				benchmarkConsume(b, inFlight, concurrency)
			})
		}
	}
}
