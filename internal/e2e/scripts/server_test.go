package scripts

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/millrace-mq/millrace/internal/e2e/testenv"
)

// A server answers as its rules say and writes each request to its log, as an object a
// line: method, url, header, body, and what was answered.
type server struct {
	address string
	tls     *tls.Config // nil: plain
	log     string

	mu    sync.Mutex // guards what follows
	rules map[string][]*rule
	http  *http.Server
}

// A rule is one line: what is answered, and how many times.
type rule struct {
	times  int // left; less than 0: forever
	after  time.Duration
	status int
	manner string // "": an answer; close: none; torn: half of one; hang: none until the asker goes
	header [][2]string
}

// serve is the command httpserver. The rules' file has a line for each answer, which
// are given in turn, the last again and again:
//
//	[/path] [xTIMES] [after DURATION] STATUS|close|torn|hang [Header:value ...]
//
// Rules with a path are for it alone, the others for all other paths.
func serve(ts *testscript.TestScript, args []string) {
	l, err := testenv.Listen()
	ts.Check(err)
	s := &server{address: l.Addr().String()}
	scheme := "http"
	if args[0] == "-tls" && len(args) > 2 {
		args, scheme = args[1:], "https"
	}
	name, work := args[0], stageOf(ts).work
	stageOf(ts).add(ts, &actor{name: name, server: s})
	s.log = filepath.Join(work, name+".log")
	if scheme == "https" {
		ts.Check(s.certify(filepath.Join(work, name+".pem")))
	}
	s.serve(l) // whatever is wrong from here on, the stage closes it
	rules, err := parseRules(ts.ReadFile(args[1]))
	ts.Check(err)
	s.mu.Lock()
	s.rules = rules
	s.mu.Unlock()
	ts.Check(os.WriteFile(s.log, nil, 0o644))
	ts.Setenv(variable(name, "URL"), scheme+"://"+s.address)
}

// certify takes httptest's certificate, which is good for 127.0.0.1 and signs itself.
func (s *server) certify(file string) error {
	model := httptest.NewTLSServer(nil)
	defer model.Close()
	s.tls = &tls.Config{Certificates: model.TLS.Certificates}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: model.Certificate().Raw})
	return os.WriteFile(file, text, 0o644)
}

func parseRules(text string) (map[string][]*rule, error) {
	rules := map[string][]*rule{}
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) == 0 || words[0][0] == '#' {
			continue
		}
		path := ""
		if words[0][0] == '/' {
			path, words = words[0], words[1:]
		}
		r, err := parseRule(words)
		if err != nil {
			return nil, fmt.Errorf("rule %q: %w", lines.Text(), err)
		}
		rules[path] = append(rules[path], r)
	}
	return rules, lines.Err()
}

func parseRule(words []string) (*rule, error) {
	r := &rule{times: 1}
	for len(words) > 0 {
		word := words[0]
		words = words[1:]
		name, value, isHeader := strings.Cut(word, ":")
		var err error
		switch {
		case word == "after" && len(words) > 0:
			r.after, err = time.ParseDuration(words[0])
			words = words[1:]
		case word == "close" || word == "torn" || word == "hang":
			r.manner = word
		case isHeader:
			r.header = append(r.header, [2]string{name, value})
		case word[0] == 'x':
			r.times, err = strconv.Atoi(word[1:])
		default:
			r.status, err = strconv.Atoi(word)
		}
		if err != nil {
			return nil, err
		}
	}
	if r.status == 0 && r.manner == "" {
		return nil, fmt.Errorf("must have a status, close, torn or hang")
	}
	return r, nil
}

// open listens again after close. A process that is just being started may have the
// socket for a moment longer.
func (s *server) open() error {
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		l, err := net.Listen("tcp", s.address)
		if err == nil {
			s.serve(l)
			return nil
		}
		if time.Now().After(deadline) {
			return err
		}
	}
}

// serve serves until close.
func (s *server) serve(l net.Listener) {
	if s.tls != nil {
		l = tls.NewListener(l, s.tls)
	}
	h := &http.Server{Handler: s}
	s.mu.Lock()
	s.http = h
	s.mu.Unlock()
	go func() { _ = h.Serve(l) }() // ends with close
}

func (s *server) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.http != nil {
		_ = s.http.Close()
	}
}

// next is the rule for a request to path.
func (s *server) next(path string) rule {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.rules[path]; !ok {
		path = ""
	}
	list := s.rules[path]
	if len(list) == 0 {
		return rule{status: http.StatusNotFound}
	}
	r := *list[0]
	if list[0].times--; list[0].times == 0 && len(list) > 1 {
		s.rules[path] = list[1:]
	}
	return r
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // half a body is logged too
	rule := s.next(r.URL.Path)
	answer := strconv.Itoa(rule.status)
	if rule.manner != "" {
		answer = rule.manner
	}
	s.write(map[string]any{"method": r.Method, "url": r.URL.String(), "header": r.Header, "body": string(body), "answer": answer})
	select {
	case <-time.After(rule.after):
	case <-r.Context().Done():
		return
	}
	switch rule.manner {
	case "hang":
		<-r.Context().Done()
		return
	case "close":
		panic(http.ErrAbortHandler)
	case "torn":
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, "half of an ans")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	for _, h := range rule.header {
		w.Header().Add(h[0], h[1])
	}
	w.WriteHeader(rule.status)
	_, _ = io.WriteString(w, http.StatusText(rule.status)+"\n")
}

// write appends a line to the log.
func (s *server) write(request map[string]any) {
	line, err := json.Marshal(request)
	if err != nil {
		panic(err) // strings and a header
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f, err := os.OpenFile(s.log, os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return // the script has ended
	}
	defer f.Close()
	_, _ = f.Write(append(line, '\n'))
}
