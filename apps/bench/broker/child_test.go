package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
)

// TestMain makes the test program a broker of sorts when it is started by a
// Launch, which it tells by its first argument.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "be-a-broker" {
		os.Exit(beBroker(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// beBroker listens as it is told to and ends with SIGINT, or when asked to
// by a request for /die.
func beBroker(args []string) int {
	fs := flag.NewFlagSet("broker", flag.ExitOnError)
	tcp, web := fs.String("tcp-address", "", ""), fs.String("http-address", "", "")
	cert, key := fs.String("tls-cert", "", ""), fs.String("tls-key", "", "")
	data, size := fs.String("data-path", "", ""), fs.Int("mem-queue-size", -1, "")
	_ = fs.Parse(args)
	if err := os.WriteFile(*data+"/size", fmt.Append(nil, *size), 0o600); err != nil {
		return 1
	}
	l, err := net.Listen("tcp", *tcp)
	if err != nil {
		return 1
	}
	defer func() { _ = l.Close() }()
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, os.Interrupt)
	if *cert != "" {
		pair, err := tls.LoadX509KeyPair(*cert, *key)
		if err != nil {
			return 1
		}
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{pair}})
		go func() {
			for c, err := l.Accept(); err == nil; c, err = l.Accept() {
				_, _ = c.Write([]byte("hello"))
			}
		}()
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/where", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, *data) })
	mux.HandleFunc("/topic/create", func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.FormValue("topic") != "good" {
			http.Error(w, `{"message":"INVALID_TOPIC"}`, http.StatusBadRequest)
		}
	})
	mux.HandleFunc("/topic/delete", func(http.ResponseWriter, *http.Request) {
		fmt.Fprintln(os.Stderr, "starting well\nout of cheese")
		os.Exit(3)
	})
	go func() { _ = http.ListenAndServe(*web, mux) }()
	<-ended
	return 0
}

// where asks the broker for its data folder.
func where(t Target) (dir string, err error) {
	resp, err := http.Get("http://" + t.HTTP + "/where")
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = fmt.Fscan(resp.Body, &dir)
	return dir, err
}

func launch(memQueueSize int64) Launch {
	return Launch{Command: []string{os.Args[0], "be-a-broker"}, MemQueueSize: memQueueSize}
}

func TestLaunch(t *testing.T) {
	for _, size := range []int64{0, 77} {
		var dir string
		err := launch(size).Run(t.Context(), func(ctx context.Context, target Target) error {
			if c, err := net.Dial("tcp", target.TCP); err != nil {
				t.Errorf("connecting: %v", err)
			} else {
				_ = c.Close()
			}
			if err := target.CreateTopic(ctx, "good"); err != nil {
				t.Error(err)
			}
			if err := target.CreateTopic(ctx, "bad"); err == nil || !strings.Contains(err.Error(), "creating topic bad: the broker answered 400 Bad Request {\"message\":\"INVALID_TOPIC\"}") {
				t.Errorf("a refused topic gave %v", err)
			}
			var err error
			if dir, err = where(target); err != nil {
				return err
			}
			got, err := os.ReadFile(dir + "/size")
			want := fmt.Sprint(size)
			if size == 0 {
				want = "-1" // the flag was not given
			}
			if string(got) != want {
				t.Errorf("--mem-queue-size %s, want %s", got, want)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the data folder was left behind: %v", err)
		}
	}
}

// A broker that dies ends the work on it, with its last words.
func TestLaunchedBrokerDies(t *testing.T) {
	err := launch(0).Run(t.Context(), func(ctx context.Context, target Target) error {
		return target.DeleteTopic(ctx, "any") // the connection breaks
	})
	if err == nil || !strings.Contains(err.Error(), "ended by itself (exit status 3): out of cheese") {
		t.Errorf("error %v", err)
	}
}

func TestLaunchFails(t *testing.T) {
	nothing := func(context.Context, Target) error { t.Error("it was started"); return nil }
	err := Launch{Command: []string{"/no/such/broker"}}.Run(t.Context(), nothing)
	if err == nil || !strings.Contains(err.Error(), "starting the broker: ") {
		t.Errorf("a missing program gave %v", err)
	}
	err = Launch{Command: []string{"sh", "-c", "echo not today >&2; exit 1"}}.Run(t.Context(), nothing)
	if err == nil || !strings.Contains(err.Error(), "not today") {
		t.Errorf("a program that refuses gave %v", err)
	}
}

// A broker that is started for TLS has a certificate that Roots vouch for, and
// it is gone afterwards.
func TestLaunchTLS(t *testing.T) {
	l := launch(0)
	l.TLS = true
	var dir string
	err := l.Run(t.Context(), func(ctx context.Context, target Target) error {
		c, err := tls.Dial("tcp", target.TCP, &tls.Config{RootCAs: target.Roots, ServerName: "127.0.0.1"})
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		if b := make([]byte, 5); !readsHello(c, b) {
			t.Errorf("it said %q", b)
		}
		dir, err = where(target)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Dir(dir)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", filepath.Dir(dir), err)
	}
}

func readsHello(r io.Reader, b []byte) bool {
	_, err := io.ReadFull(r, b)
	return err == nil && string(b) == "hello"
}
