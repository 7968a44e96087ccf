package logs

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/internal/logtest"
)

// reader is a stream that takes nothing while it is stopped, and fails while it is gone.
type reader struct {
	logtest.Lines
	mu      sync.Mutex
	stopped chan struct{} // nil: it is not
	gone    bool
}

func (r *reader) Write(p []byte) (int, error) {
	r.mu.Lock()
	stopped, gone := r.stopped, r.gone
	r.mu.Unlock()
	if stopped != nil {
		<-stopped
	}
	if gone {
		return 0, errors.New("broken pipe")
	}
	return r.Lines.Write(p)
}

func (r *reader) set(stopped chan struct{}, gone bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped, r.gone = stopped, gone
}

func TestWhatIsWrittenIsThereWhenWriteReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(reader)
		o := NewOutlet(r)
		defer o.Close()
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() {
				line := fmt.Sprintf("line %d\n", i)
				if n, err := o.Write([]byte(line)); n != len(line) || err != nil || !strings.Contains(r.String(), line) {
					t.Errorf("%d, %v; is it there: %v", n, err, strings.Contains(r.String(), line))
				}
			})
		}
		all.Wait()
	})
}

// A pipe that nobody reads holds up the first that writes to it for a moment, and then nobody.
func TestAStuckStreamHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := new(reader), make(chan struct{})
		o := NewOutlet(r)
		log := New(o, Text, slog.LevelDebug, "")
		log.Info("before")
		r.set(stop, false)
		began := time.Now()
		for i := range 30_000 {
			log.Debug("while it is stuck", "count", i)
		}
		if took := time.Since(began); took > 2*patience {
			t.Errorf("30000 lines took %v", took)
		}
		r.set(nil, false)
		close(stop)
		synctest.Wait()
		log.Info("after")
		said := r.String()
		kept := strings.Count(said, "while it is stuck")
		if kept < 1000 || len(said) > 2*maxWaiting {
			t.Errorf("%d lines are kept, %d bytes", kept, len(said))
		}
		if want := fmt.Sprintf("level=WARN msg=\"lines of the log are lost: nobody took them in time\" unlogged=%d\n", 30_000-kept); !strings.Contains(said, want) {
			t.Errorf("it says not %q", want)
		}
		if !strings.HasSuffix(strings.TrimSpace(said), "msg=after") || !strings.Contains(said, "count=0\n") {
			t.Errorf("it ends with %q", last(said))
		}
		r.set(make(chan struct{}), false)
		o.Close()
	})
}

func TestAProgramEndsThoughTheStreamIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := new(reader), make(chan struct{})
		r.set(stop, false)
		o := NewOutlet(r)
		began := time.Now()
		fmt.Fprintln(o, "the last words")
		o.Close()
		if took := time.Since(began); took > patience+farewell {
			t.Errorf("it took %v to end", took)
		}
		fmt.Fprintln(o, "too late")
		close(stop)
		<-o.ended
		if !strings.HasPrefix(r.String(), "the last words\n") || strings.Contains(r.String(), "too late") {
			t.Errorf("said %q", r.String())
		}
	})
}

// A stream that fails, such as a file on a full disk, is tried again with every line.
func TestAStreamThatFailsIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(reader)
		o := NewOutlet(r)
		r.set(nil, true)
		fmt.Fprintln(o, "one")
		fmt.Fprintln(o, "two\nthree")
		r.set(nil, false)
		fmt.Fprintln(o, "four")
		o.Close()
		if want := "four\n3 lines are lost: nobody took them in time\n"; r.String() != want {
			t.Errorf("said %q, want %q", r.String(), want)
		}
	})
}

// A real pipe that is full, and then read.
func TestAFullPipe(t *testing.T) {
	from, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	o := NewOutlet(to)
	line := strings.Repeat("x", 1023) + "\n"
	for range 500 { // 64 KiB fit into a pipe
		if _, err := o.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	read := make(chan int)
	go func() {
		n := 0
		for b := make([]byte, 4096); ; {
			m, err := from.Read(b)
			n += m
			if err != nil {
				read <- n
				return
			}
		}
	}()
	o.Close()
	to.Close()
	if n := <-read; n != 500*1024 {
		t.Errorf("%d bytes came, want %d", n, 500*1024)
	}
}
