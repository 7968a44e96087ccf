package goclient

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	millrace "github.com/millrace-mq/millrace/clients/go"
)

// server does what it is asked for, each request on a goroutine of its own.
type server struct {
	wg sync.WaitGroup

	mu      sync.Mutex // guards below, and writing
	out     *json.Encoder
	writers map[string]*writer
	readers map[string]*reader
}

// Serve answers requests until in ends.
func Serve(in io.Reader, out io.Writer) error {
	s := &server{out: json.NewEncoder(out), writers: map[string]*writer{}, readers: map[string]*reader{}}
	defer s.wg.Wait()
	idle := measure()
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		var r Request
		if err := json.Unmarshal(line, &r); err != nil {
			return fmt.Errorf("%s: %w", line, err)
		}
		if r.Do == "rest" {
			for _, w := range s.writers {
				close(w.asyncs)
			}
			s.wg.Wait()
			s.tell(result(r.ID, "ok", idle.back()))
			clear(s.writers)
			clear(s.readers)
			continue
		}
		s.do(r)
	}
}

func (s *server) tell(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.out.Encode(e) // the runner is gone, and with it our input
}

// do begins what is asked for. What must be in the order of the requests is
// done, or put in line, before it returns.
func (s *server) do(r Request) {
	switch r.Do {
	case "writer", "reader":
		s.tell(result(r.ID, "ok", s.open(r)))
	case "wrap", "unwrap":
		s.tell(trace(r))
	default:
		if w := s.writers[r.Client]; w != nil {
			w.do(r)
		} else if rd := s.readers[r.Client]; rd != nil {
			rd.do(r)
		} else {
			s.tell(result(r.ID, "ok", fmt.Errorf("there is no client %q", r.Client)))
		}
	}
}

func (s *server) open(r Request) error {
	if r.Do == "writer" {
		w, err := newWriter(s, r)
		if err == nil {
			s.writers[r.Client] = w
		}
		return err
	}
	rd, err := newReader(s, r)
	if err == nil {
		s.readers[r.Client] = rd
	}
	return err
}

// result says how a request ended: as well, if err is nil.
func result(id int, well string, err error) Event {
	if err == nil {
		return Event{ID: id, Result: well}
	}
	return Event{ID: id, Result: kind(err), Text: err.Error()}
}

func kind(err error) string {
	var refused *millrace.RefusedError
	var unavailable *millrace.UnavailableError
	var uncertain *millrace.UncertainError
	switch {
	case errors.As(err, &refused):
		return "refused"
	case errors.As(err, &unavailable):
		return "unavailable"
	case errors.As(err, &uncertain):
		return "uncertain"
	case errors.Is(err, millrace.ErrClosed):
		return "closed"
	}
	return "error"
}

// limited is a context for a request's timeout.
func (r *Request) limited() (context.Context, context.CancelFunc) {
	if r.Timeout == 0 {
		return context.WithCancel(context.Background())
	}
	return context.WithTimeout(context.Background(), time.Duration(r.Timeout)*time.Millisecond)
}

func (r *Request) delay() time.Duration { return time.Duration(r.Delay) * time.Millisecond }
