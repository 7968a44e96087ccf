package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unicode"

	"github.com/millrace-mq/millrace/admin/audit"
	logged "github.com/millrace-mq/millrace/internal/audit"
)

const (
	// maxAnswer is most bytes of an answer. A listing of 50 daemons with 50,000 topics each
	// is less. What is longer is refused when so much of it has come.
	maxAnswer = 64 << 20

	// maxStream is the same of an answer that is read as it comes, and not kept.
	maxStream = 1 << 30

	// maxRefusal is how much of a refusal is looked at.
	maxRefusal = 64 << 10

	// maxBegin is how much is looked at of an answer that nobody wants.
	maxBegin = 512
)

// Refusal is an answer that is not a success.
type Refusal struct {
	Status   int    // of HTTP
	Code     string // NSQ's word for it, such as TOPIC_NOT_FOUND; empty if it was none of NSQ's
	Sentence string // what else it says; may be empty
}

func (r *Refusal) Error() string {
	switch {
	case r.Code == "":
		return fmt.Sprintf("%s (status %d)", r.Sentence, r.Status)
	case r.Sentence == "":
		return r.Code
	}
	return r.Code + ": " + r.Sentence
}

// Get asks the daemon at address, which is host:port, and decodes its answer into what
// into points to: text if that is a *string or *[]byte, nothing if it is nil, else JSON.
// The error says whom it asked for what; a *Refusal is in it if the daemon refused.
func (c *Cluster) Get(ctx context.Context, address, path string, q url.Values, into any) error {
	return c.ask(ctx, request{http.MethodGet, address, path, q, nil}, decodeInto(into))
}

// Post is Get for a change. Body may be nil. It is never repeated once it may have
// reached the daemon.
func (c *Cluster) Post(ctx context.Context, address, path string, q url.Values, body []byte, into any) error {
	return c.ask(ctx, request{http.MethodPost, address, path, q, body}, decodeInto(into))
}

// Put is Post with another method, for /config.
func (c *Cluster) Put(ctx context.Context, address, path string, body []byte, into any) error {
	return c.ask(ctx, request{http.MethodPut, address, path, nil, body}, decodeInto(into))
}

// Stream asks as Get does, and has read take the answer as it comes. It may be a gigabyte;
// read sees to it that what it keeps is bounded. RequestTimeout is here for each part of the
// answer that is waited for, so that who reads slowly does not blame the daemon; all parts
// together may be waited for twelve times as long.
func (c *Cluster) Stream(ctx context.Context, address, path string, q url.Values, read func(io.Reader) error) error {
	ctx, p := c.beginPatience(ctx)
	defer p.end()
	return c.ask(ctx, request{http.MethodGet, address, path, q, nil}, func(body io.Reader) error {
		p.stop()
		return read(&bounded{&patient{body, p}, maxStream})
	})
}

// Reason is err without what a *Cluster's method was asked, and without the address that
// could not be connected to: for where the daemon is named already.
func Reason(err error) string {
	if o, ok := errors.AsType[*net.OpError](err); ok && o.Op == "dial" {
		if errno, ok := errors.AsType[syscall.Errno](o); ok {
			return errno.Error()
		}
	}
	if a, ok := errors.AsType[*askError](err); ok {
		return a.err.Error()
	}
	return err.Error()
}

// ResultOf is what became of a request to the daemon at address.
func ResultOf(address string, err error) audit.Result {
	if err != nil {
		return audit.Result{Node: address, Error: Reason(err)}
	}
	return audit.Result{Node: address, OK: true}
}

type forKey struct{}

// For returns a context of what is changed for somebody: daemons that believe us put his
// name into their audit logs.
func For(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, forKey{}, name)
}

// askError is a request that failed.
type askError struct {
	request
	err error
}

func (e *askError) Error() string {
	return fmt.Sprintf("%s %s of %s: %v", e.method, e.path, shorten(e.address), e.err)
}
func (e *askError) Unwrap() error { return e.err }

type request struct {
	method, address, path string
	query                 url.Values
	body                  []byte
}

// ask sends a request, and once more if the daemon wants TLS.
func (c *Cluster) ask(ctx context.Context, r request, read func(io.Reader) error) error {
	if err := CheckAddress(r.address); err != nil {
		return &askError{r, errUnsent{err}}
	}
	if _, own := ctx.Deadline(); !own && ctx.Value(patienceKey{}) == nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, c.settings.RequestTimeout, outOfPatience(c.settings.RequestTimeout))
		defer cancel()
	}
	sealed, known := c.sealedAt(r.address)
	err := c.send(ctx, r, sealed, read)
	if port := portOfTLS(err); !known && port != 0 {
		host, _, _ := net.SplitHostPort(r.address)
		sealed = net.JoinHostPort(host, strconv.Itoa(port))
		if err = c.send(ctx, r, sealed, read); answered(err) {
			c.remember(r.address, sealed)
		}
	} else if known && !answered(err) {
		c.remember(r.address, "") // perhaps it wants TLS no more
	}
	if err != nil {
		return &askError{r, explain(ctx, err)}
	}
	return nil
}

// answered reports whether a daemon spoke, be it a refusal.
func answered(err error) bool {
	_, refused := errors.AsType[*Refusal](err)
	return err == nil || refused
}

func (c *Cluster) sealedAt(address string) (sealed string, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sealed, known = c.sealed[address]
	return sealed, known
}

// maxSealed bounds what is remembered: addresses come from lookupds.
const maxSealed = 10_000

func (c *Cluster) remember(address, sealed string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.sealed) >= maxSealed {
		clear(c.sealed)
	}
	if sealed == "" {
		delete(c.sealed, address)
		return
	}
	c.sealed[address] = sealed
}

// send sends a request, to the address sealed with TLS if that is not empty.
func (c *Cluster) send(ctx context.Context, r request, sealed string, read func(io.Reader) error) error {
	to := url.URL{Scheme: "http", Host: r.address, Path: r.path, RawQuery: r.query.Encode()}
	if sealed != "" {
		to.Scheme, to.Host = "https", sealed
	}
	req, err := http.NewRequestWithContext(ctx, r.method, to.String(), bytes.NewReader(r.body))
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "millrace-admin")
	if c.settings.Token != "" && (sealed != "" || !c.settings.TokenSealed) {
		req.Header.Set("Authorization", "Bearer "+c.settings.Token)
	}
	if name, _ := ctx.Value(forKey{}).(string); name != "" && r.method != http.MethodGet {
		req.Header.Set(logged.ForHeader, url.PathEscape(name))
	}
	answer, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer finish(answer.Body)
	if answer.StatusCode != http.StatusOK {
		return refusal(answer)
	}
	return read(answer.Body)
}

// finish reads what little may be left of an answer, so that its connection can be used
// again, and closes it.
func finish(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, 4<<10)
	_ = body.Close()
}

// bounded fails once more than left bytes have been read; io.LimitReader would make a
// part look like the whole.
type bounded struct {
	from io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errors.New("the answer is too long for one of NSQ's daemons")
	}
	n, err := b.from.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

func decodeInto(into any) func(io.Reader) error {
	return func(body io.Reader) error {
		body = &bounded{body, maxAnswer}
		switch into := into.(type) {
		case nil:
			return noPage(body)
		case *string:
			text, err := io.ReadAll(body)
			*into = string(text)
			return err
		case *[]byte:
			text, err := io.ReadAll(body)
			*into = text
			return err
		}
		if err := json.NewDecoder(&sparse{from: body}).Decode(into); err != nil {
			return notJSON(err)
		}
		return nil
	}
}

// sparse fails when JSON has more in it than a daemon's answers have. In memory an object
// of two bytes takes hundreds: an answer that is nothing but those would take gigabytes.
type sparse struct {
	from            io.Reader
	objects, values int
}

const (
	maxObjects = 1_000_000 // and lists; a daemon with 64 MiB to tell has fewer
	maxValues  = 8_000_000 // names of topics, at the most
)

func (s *sparse) Read(p []byte) (int, error) {
	n, err := s.from.Read(p)
	for _, begin := range []string{"{", "["} {
		s.objects += bytes.Count(p[:n], []byte(begin))
	}
	s.values += bytes.Count(p[:n], []byte(","))
	if s.objects > maxObjects || s.values > maxValues {
		return 0, errors.New("the answer has more in it than a queue daemon's")
	}
	return n, err
}

// noPage refuses a success with a page in it: a proxy or another server stands where the
// daemon was, and nothing has been done. What daemons answer to a change begins otherwise.
func noPage(body io.Reader) error {
	begin, err := io.ReadAll(io.LimitReader(body, maxBegin))
	if err != nil || !bytes.HasPrefix(bytes.TrimSpace(begin), []byte("<")) {
		return nil // it has said that it is done
	}
	return errors.New(aPage)
}

// notJSON says of an answer that it is none of a daemon's, unless the connection is to
// blame.
func notJSON(err error) error {
	_, isSyntax := errors.AsType[*json.SyntaxError](err)
	_, isType := errors.AsType[*json.UnmarshalTypeError](err)
	if isSyntax || isType || errors.Is(err, io.EOF) {
		return fmt.Errorf("the answer is not what NSQ's daemons answer: %w", err)
	}
	return err
}

// refusal reads an answer that is not a success.
func refusal(answer *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxRefusal))
	if err != nil && len(text) == 0 {
		return err
	}
	r := &Refusal{Status: answer.StatusCode}
	var told struct {
		Message string `json:"message"`
		Port    int    `json:"https_port"`
	}
	if json.Unmarshal(text, &told) == nil && told.Message != "" {
		r.Code, r.Sentence, _ = strings.Cut(told.Message, ": ")
		if r.Code == "TLS_REQUIRED" && r.Status == http.StatusForbidden && 0 < told.Port && told.Port < 1<<16 {
			return &tlsRequired{r, told.Port}
		}
	} else {
		r.Sentence = plain(text)
	}
	if to := answer.Header.Get("Location"); to != "" && r.Status/100 == 3 {
		r.Sentence = "redirects to " + plain([]byte(to)) + ", which a queue daemon does not"
	}
	r.Code, r.Sentence = shorten(r.Code), shorten(r.Sentence)
	return r
}

const aPage = "answered with a page, as a proxy does, not a queue daemon"

// plain is what an answer that is not NSQ's says, in a line.
func plain(text []byte) string {
	s := strings.TrimSpace(string(text))
	if s == "" {
		return "refused without a word"
	}
	if strings.HasPrefix(s, "<") {
		return aPage
	}
	line, _, _ := strings.Cut(s, "\n")
	return shorten(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(line, "")))
}

// tlsRequired is the refusal of a daemon that wants TLS, with the port where it has it.
type tlsRequired struct {
	*Refusal
	port int
}

func (t *tlsRequired) Unwrap() error { return t.Refusal }

func portOfTLS(err error) int {
	if t, ok := errors.AsType[*tlsRequired](err); ok {
		return t.port
	}
	return 0
}

// explain is a failed request in words that say what is the matter.
func explain(ctx context.Context, err error) error {
	if _, refused := errors.AsType[*Refusal](err); refused {
		return err
	}
	if cause := context.Cause(ctx); errors.Is(cause, errPatience) {
		return cause
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("no answer in time: %w", err)
	}
	if u, ok := errors.AsType[*url.Error](err); ok { // says the URL once more
		err = u.Err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("it closed the connection before the end of its answer: %w", err)
	}
	return err
}
