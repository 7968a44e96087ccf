package clustertest

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Call is a request that a played daemon has had.
type Call struct {
	Method, Path string
	Query        url.Values
	Body         string
	Header       http.Header
}

// Server is what the played daemons have in common. Its methods may be called at any
// time, from any goroutine.
type Server struct {
	address string
	handler http.Handler
	http    *http.Server

	mu       sync.Mutex // guards what follows
	calls    []Call
	requests map[string]int // by path
	fault    func(http.ResponseWriter, *http.Request)
	faults   map[string]func(http.ResponseWriter, *http.Request) // of one path
	down     bool
	healed   chan struct{} // closed when those that hang may go on
}

// start listens, in memory if there is such a network, until the test ends.
func (s *Server) start(t testing.TB, memory *network, name string, handler http.Handler) {
	t.Helper()
	s.requests = make(map[string]int)
	s.faults = make(map[string]func(http.ResponseWriter, *http.Request))
	s.healed = make(chan struct{})
	var l net.Listener
	if memory != nil {
		l, s.address = memory.listen(name), name
	} else {
		var err error
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		s.address = l.Addr().String()
	}
	s.handler = handler
	s.http = &http.Server{Handler: s, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.http.Serve(&moody{l, s})
	}()
	t.Cleanup(func() {
		s.Heal()
		_ = s.http.Close()
		<-ended
	})
}

// Address is host:port of its HTTP API.
func (s *Server) Address() string { return s.address }

// moody is a listener that hangs up on whoever comes while the server is down.
type moody struct {
	net.Listener
	server *Server
}

func (m *moody) Accept() (net.Conn, error) {
	for {
		c, err := m.Listener.Accept()
		if err != nil || !m.server.isDown() {
			return c, err
		}
		_ = c.Close()
	}
}

func (s *Server) isDown() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.down
}

// ServeHTTP answers a request, as if it had come through the network: it is counted, and
// faults come first.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, 64<<20))
	r.Body = io.NopCloser(bytes.NewReader(body))
	w.Header().Set("X-NSQ-Content-Type", "nsq; version=1.0")
	if fault := s.note(r, body); fault != nil {
		fault(w, r)
		return
	}
	s.handler.ServeHTTP(w, r)
}

// keptCalls is how many are remembered one by one.
const keptCalls = 10_000

func (s *Server) note(r *http.Request, body []byte) (fault func(http.ResponseWriter, *http.Request)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests[r.URL.Path]++
	if len(s.calls) < keptCalls {
		s.calls = append(s.calls, Call{r.Method, r.URL.Path, r.URL.Query(), string(body), r.Header.Clone()})
	}
	if f := s.faults[r.URL.Path]; f != nil {
		return f
	}
	return s.fault
}

// Requests is how many requests for a path there were; of any path, if it is empty.
func (s *Server) Requests(path string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p, count := range s.requests {
		if path == "" || p == path {
			n += count
		}
	}
	return n
}

// Calls are the first 10,000 requests for a path, in their order; of any path, if it is
// empty.
func (s *Server) Calls(path string) (all []Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.calls {
		if path == "" || c.Path == path {
			all = append(all, c)
		}
	}
	return all
}

// Changes are the POSTs, PUTs and DELETEs among the first 10,000 requests.
func (s *Server) Changes() []Call {
	return slices.DeleteFunc(s.Calls(""), func(c Call) bool { return c.Method == http.MethodGet })
}

// Answer has it answer every request with that status and body.
func (s *Server) Answer(status int, body string) { s.AnswerPath("", status, body) }

// Fail has it refuse every request with that status and code, as NSQ's daemons do.
func (s *Server) Fail(status int, code string) { s.FailPath("", status, code) }

// FailPath has it refuse requests for a path.
func (s *Server) FailPath(path string, status int, code string) {
	body, _ := json.Marshal(map[string]string{"message": code})
	s.AnswerPath(path, status, string(body))
}

// AnswerPath has it answer requests for a path with that status and body.
func (s *Server) AnswerPath(path string, status int, body string) {
	s.HandlePath(path, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}

// HandlePath has do answer requests for a path; for every one, if it is empty.
func (s *Server) HandlePath(path string, do func(http.ResponseWriter, *http.Request)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if path == "" {
		s.fault = do
		return
	}
	s.faults[path] = do
}

// Hang has it take every request and answer none, until it heals.
func (s *Server) Hang() { s.HangPath("") }

// HangPath has it take requests for a path and answer none, until it heals.
func (s *Server) HangPath(path string) {
	s.mu.Lock()
	healed := s.healed
	s.mu.Unlock()
	s.HandlePath(path, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-healed:
		case <-r.Context().Done():
		}
		panic(http.ErrAbortHandler)
	})
}

// Slow has it answer requests for a path only after so long; every one, if it is empty.
func (s *Server) Slow(path string, by time.Duration) {
	s.HandlePath(path, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(by):
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
		s.handler.ServeHTTP(w, r)
	})
}

// Endless has it answer every request with JSON that does not end.
func (s *Server) Endless(begin, again string) {
	s.HandlePath("", func(w http.ResponseWriter, r *http.Request) {
		_, err := io.WriteString(w, begin)
		part := strings.Repeat(again, 1+(32<<10)/len(again))
		for err == nil && r.Context().Err() == nil {
			_, err = io.WriteString(w, part)
		}
	})
}

// Down has it hang up on everybody, at once, as if its process were gone.
func (s *Server) Down() {
	s.HandlePath("", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = true
}

// Heal has it answer as it should again.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.healed)
	s.healed = make(chan struct{})
	s.fault, s.down = nil, false
	clear(s.faults)
}

// RequireTLS has it refuse every request and name the port where it is to be asked with
// TLS, as daemons do that are set up so.
func (s *Server) RequireTLS(port int) {
	body, _ := json.Marshal(map[string]any{"message": "TLS_REQUIRED", "https_port": port})
	s.Answer(http.StatusForbidden, string(body))
}

// reply answers as NSQ's daemons do: text, JSON, or nothing.
func reply(w http.ResponseWriter, v any) {
	switch v := v.(type) {
	case nil:
	case string:
		_, _ = io.WriteString(w, v)
	default:
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_ = json.NewEncoder(w).Encode(v)
	}
}

// refuse answers with an error, as NSQ's daemons do.
func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	reply(w, map[string]string{"message": code})
}
