package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/qd/auth"
)

// authority is the auth server of a conversation.
type authority struct {
	listener *listener
	server   http.Server
	served   sync.WaitGroup

	mu      sync.Mutex // guards what follows
	answers map[string]string
	gone    bool
	asked   []question
}

// question is what it was asked, and when.
type question struct {
	at   time.Time
	text string
}

func newAuthority() *authority {
	a := &authority{listener: newListener(), answers: map[string]string{}}
	a.server = http.Server{Handler: a, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	a.served.Go(func() { _ = a.server.Serve(a.listener) })
	return a
}

func (a *authority) stop() {
	_ = a.server.Close()
	a.served.Wait()
}

// client asks the authority with nsqd's default timeouts.
func (a *authority) client(method string) (*auth.Client, error) {
	return auth.New(auth.Config{
		Addresses: []string{"auth:80"}, Method: method, ConnectTimeout: 2 * time.Second, RequestTimeout: 5 * time.Second,
		Dial: a.dial, Log: slog.New(slog.DiscardHandler),
	})
}

func (a *authority) dial(context.Context, string, string) (net.Conn, error) {
	a.mu.Lock()
	gone := a.gone
	a.mu.Unlock()
	if gone {
		return nil, errors.New("connection refused")
	}
	return a.listener.dial("qd", 1<<20), nil
}

// ServeHTTP answers with what the script has for the secret: a status, JSON, or
// nothing at all if that is "hangs". It is slow if "after" and a time stand before
// that.
func (a *authority) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	secret := r.URL.Query().Get("secret")
	if r.Method == http.MethodPost {
		var all map[string][]string
		if err := json.Unmarshal(body, &all); err != nil || len(all["secret"]) != 1 {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		secret = all["secret"][0]
	}
	a.mu.Lock()
	a.asked = append(a.asked, question{time.Now(), strings.TrimSpace(fmt.Sprintf("%s %s %s", r.Method, r.URL, body))})
	answer, status := a.answers[secret], 0
	a.mu.Unlock()
	if rest, ok := strings.CutPrefix(answer, "after "); ok {
		pause, text, _ := strings.Cut(rest, " ")
		d, err := time.ParseDuration(pause)
		if err != nil {
			panic(err)
		}
		select {
		case <-time.After(d):
		case <-r.Context().Done():
			return
		}
		answer = text
	}
	if _, err := fmt.Sscanf(answer, "%d", &status); err == nil {
		w.WriteHeader(status)
	} else if answer == "hangs" {
		<-r.Context().Done()
	} else {
		_, _ = io.WriteString(w, answer)
	}
}

// perform carries out a line of a script that is about the authority.
func (a *authority) perform(line string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	words := strings.SplitN(line, " ", 3)
	switch {
	case len(words) == 3:
		a.answers[words[1]] = words[2]
	case len(words) == 2 && (words[1] == "gone" || words[1] == "back"):
		a.gone = words[1] == "gone"
	default:
		return errors.New("an auth server is gone, is back, or has an answer to a secret")
	}
	return nil
}

func (a *authority) take() []question {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := a.asked
	a.asked = nil
	return all
}
