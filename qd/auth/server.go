package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// server is one auth server.
type server struct {
	name string // for people: the address without what may be secret in it
	url  *url.URL

	mu     sync.Mutex // guards what follows
	gone   bool       // as the log says
	failed time.Time  // when it gave no answer last
}

// settled is how long a server must have answered everybody before the log says
// that it is back: one that has more to do than it can answers some, and a
// client can ask what makes a server fail.
const settled = 10 * time.Second

func newServer(address string) (*server, error) {
	text := address
	if !strings.Contains(address, "://") {
		text = "http://" + address + "/auth"
	}
	u, err := url.Parse(text)
	if err != nil {
		// The error of url.Parse repeats the text, which may have a password.
		return nil, errors.New("an auth server's address is neither host:port nor a URL")
	}
	name := (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, fmt.Errorf("auth server %q: must be host:port or a URL with http or https", name)
	}
	return &server{name: name, url: u}, nil
}

// request is what the server is asked. The names and their order are nsqd's; so
// is that POST's values are arrays.
func (s *server) request(ctx context.Context, r Request, post bool) (*http.Request, error) {
	ip, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		ip = "" // of a unix socket
	}
	asked := url.Values{
		"common_name": {r.CommonName}, "remote_ip": {ip}, "secret": {r.Secret}, "tls": {strconv.FormatBool(r.TLS)},
	}
	method, u, body := http.MethodGet, *s.url, []byte(nil)
	if post {
		method = http.MethodPost
		if body, err = json.Marshal(asked); err != nil {
			return nil, err
		}
	} else {
		if u.RawQuery != "" {
			u.RawQuery += "&"
		}
		u.RawQuery += asked.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/vnd.nsq; version=1.0")
	if post {
		request.Header.Set("Content-Type", "application/json")
	}
	return request, nil
}

// answerError is what is wrong with an answer that came. It quotes nothing of it.
type answerError struct {
	status int // 0 if that is not what is wrong
	text   string
}

func (e *answerError) Error() string { return e.text }

// refuses reports whether the server has understood, and refuses the client.
func refuses(err error) bool {
	e, ok := errors.AsType[*answerError](err)
	return ok && (e.status == http.StatusUnauthorized || e.status == http.StatusForbidden)
}

// fetch returns the body of the answer.
func (c *Client) fetch(request *http.Request) ([]byte, error) {
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	switch status := response.StatusCode; {
	case status == http.StatusOK:
	case status >= 300 && status < 400:
		return nil, &answerError{status, fmt.Sprintf("status %d, and redirections are not followed", status)}
	default:
		return nil, &answerError{status, fmt.Sprintf("status %d", status)}
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err == nil && len(text) > maxAnswer {
		err = &answerError{text: fmt.Sprintf("the answer is longer than %d bytes", maxAnswer)}
	}
	return text, err
}

// isBroken reports whether err, of a request, is the end of its connection.
func isBroken(err error) bool {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err // it is itself a net.Error
	}
	_, ok := errors.AsType[net.Error](err)
	return ok || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// masked is what err says, without the secret. It does not wrap err, of which
// others could print the inside.
func masked(err error, secret string) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err // around it stands the URL, with its query
	}
	text := err.Error()
	if secret != "" {
		quoted := strconv.Quote(secret)
		for _, form := range []string{secret, url.QueryEscape(secret), quoted[1 : len(quoted)-1]} {
			text = strings.ReplaceAll(text, form, "***")
		}
	}
	return errors.New(text)
}

// report logs that the server has gone, or is back, once for each change. A
// server that refuses a client is there.
func (s *server) report(log *slog.Logger, err error) {
	gone, now := err != nil && !refuses(err), time.Now()
	s.mu.Lock()
	changed := gone != s.gone && (gone || now.Sub(s.failed) >= settled)
	if changed {
		s.gone = gone
	}
	if gone {
		s.failed = now
	}
	s.mu.Unlock()
	switch {
	case changed && gone:
		log.Warn("auth server gives no answer; clients that need one are refused", "server", s.name, "error", err)
	case changed:
		log.Info("auth server answers again", "server", s.name)
	}
}
