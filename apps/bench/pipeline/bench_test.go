package pipeline

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace-mq/millrace/apps/bench/work"
	millrace "github.com/millrace-mq/millrace/clients/go"
	"github.com/millrace-mq/millrace/qd"
)

// TestMain makes the test program a pub or a to_file when it is started as one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "be-") {
		if err := be(os.Args[1], os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0") // else each stand-in takes a second to end, with the race detector
	goleak.VerifyTestMain(m)
}

// be is a stand-in for one of the programs, with a fault if the role's name goes on with one.
func be(role string, args []string) error {
	fs := flag.NewFlagSet(role, flag.ContinueOnError)
	topic, address := fs.String("topic", "", ""), fs.String("nsqd-tcp-address", "", "")
	channel, dir, zip := fs.String("channel", "", ""), fs.String("output-dir", "", ""), fs.Bool("gzip", false, "")
	if err := fs.Parse(args); err != nil {
		return err
	}
	program, fault, _ := strings.Cut(strings.TrimPrefix(role, "be-"), "-")
	if fault == "fails" {
		return fmt.Errorf("this %s is out of order", program)
	}
	if program == "pub" {
		return publish(*topic, *address)
	}
	return record(*topic, *channel, *address, *dir, *zip, fault)
}

func publish(topic, address string) error {
	w, err := millrace.NewWriter(millrace.WriterConfig{Addresses: []string{address}})
	if err != nil {
		return err
	}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		if err := w.PublishAsync(context.Background(), topic, in.Bytes(), nil); err != nil {
			return err
		}
	}
	return errors.Join(in.Err(), w.Close())
}

func record(topic, channel, address, dir string, zip bool, fault string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if fault == "ends" {
		return nil
	}
	var lines bytes.Buffer
	r, err := millrace.NewReader(millrace.ReaderConfig{
		Topic: topic, Channel: channel, Addresses: []string{address},
		Handler: millrace.HandlerFunc(func(ctx context.Context, m *millrace.Message) error {
			n, _ := number(m.Body)
			switch {
			case fault == "loses" && n == 7:
				return nil
			case fault == "idles" && n == 7:
				<-ctx.Done()
			case fault == "doubles" && n == 7:
				lines.Write(append(m.Body, '\n'))
			}
			lines.Write(append(m.Body, '\n'))
			return nil
		}),
		ShutdownTimeout: 100 * time.Millisecond,
	})
	if err != nil {
		return err
	}
	if err := r.Run(ctx); err != nil {
		return err
	}
	return save(filepath.Join(dir, "file"), lines.Bytes(), zip)
}

func save(path string, lines []byte, zip bool) error {
	if !zip {
		return os.WriteFile(path, lines, 0o600)
	}
	f, err := os.Create(path + ".gz")
	if err != nil {
		return err
	}
	z := gzip.NewWriter(f)
	_, err = z.Write(lines)
	return errors.Join(err, z.Close(), f.Close())
}

// small is a load that takes no time, on a qd in this process, with the stand-ins
// pub and toFile.
func small(t *testing.T, pub, toFile string) Bench {
	t.Helper()
	s := qd.Defaults()
	s.TCPAddress, s.HTTPAddress, s.DataPath = "127.0.0.1:0", "127.0.0.1:0", t.TempDir()
	d, err := qd.Listen(s, slog.New(slog.DiscardHandler), new(slog.LevelVar))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return Bench{
		Subject: work.Subject{TCP: d.TCPAddr().String(), HTTP: d.HTTPAddr().String()}, Progress: io.Discard,
		Pub: os.Args[0] + " be-" + pub, ToFile: os.Args[0] + " be-" + toFile,
		Formats: []string{"plain", "gzip"}, Lines: 2000, Size: 60, Rounds: 1, Dir: t.TempDir(), Stall: time.Minute,
	}
}

func TestEveryWork(t *testing.T) {
	b := small(t, "pub", "file")
	rows, err := b.Run(t.Context())
	if err != nil || len(rows) != 6 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for _, r := range rows {
		published, recorded := r.Work != draining, r.Work != publishing
		if r.Lines != b.Lines || r.Rate <= 0 || (r.Pub.CPU > 0) != published || (r.ToFile.CPU > 0) != recorded {
			t.Errorf("%+v", r)
		}
		if zipped := r.Files == "gzip" && recorded; (r.Ratio > 1) != zipped {
			t.Errorf("%s: compressed to one in %v", r.key(), r.Ratio)
		}
		if r.Duplicates+r.Disorder > 0 {
			t.Errorf("%s: %d lines are there twice, %d out of order", r.key(), r.Duplicates, r.Disorder)
		}
	}
	var table strings.Builder
	if err := Table(&table, rows); err != nil || strings.Count(table.String(), "\n") != len(rows)+2 {
		t.Errorf("%v\n%s", err, table.String())
	}
	if left, err := os.ReadDir(b.Dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestFaults(t *testing.T) {
	tests := map[string]struct{ pub, toFile, want string }{
		"a line is lost":        {"pub", "file-loses", "1 of the 2000 lines are in no file; the first is line 7"},
		"pub fails":             {"pub-fails", "file", "failed (exit status 1): this pub is out of order"},
		"to_file fails":         {"pub", "file-fails", "failed (exit status 1): this file is out of order"},
		"to_file ends":          {"pub", "file-ends", "ended before it was told to"},
		"a message stays":       {"pub", "file-idles", "nothing happened for 500ms while 2000 of 2000 messages were published, and "},
		"there is no such file": {"pub", "file", "no-such-program"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := small(t, test.pub, test.toFile)
			b.Formats = []string{"plain"}
			if strings.HasSuffix(test.toFile, "idles") {
				b.Stall = 500 * time.Millisecond
			}
			if test.want == "no-such-program" {
				b.ToFile = test.want
			}
			if _, err := b.Run(t.Context()); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestDuplicatesAreCounted(t *testing.T) {
	b := small(t, "pub", "file-doubles")
	b.Formats = []string{"plain"}
	rows, err := b.Run(t.Context())
	if err != nil || len(rows) != 3 || rows[1].Duplicates != 1 || rows[2].Duplicates != 1 {
		t.Errorf("%+v, %v", rows, err)
	}
}

func TestRefusedSettings(t *testing.T) {
	b := Bench{Pub: " ", ToFile: "\t", Formats: []string{"lzw"}, Size: 5}
	err := b.Validate()
	if err == nil || strings.Count(err.Error(), "\n") != 6 || !strings.Contains(err.Error(), "--files lzw: must be plain, gzip or zstd") {
		t.Errorf("%v", err)
	}
}
