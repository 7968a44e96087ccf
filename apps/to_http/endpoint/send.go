package endpoint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Outcome is what has become of a request.
type Outcome uint8

const (
	Failed  Outcome = iota // it may succeed later
	Taken                  // 200, or for POST any 2xx
	Refused                // it would be refused again
)

// Result is what has become of a request, and why.
type Result struct {
	Outcome Outcome
	Err     error // nil if it was taken; it names the endpoint, and no secret

	// About reports of a refusal that it may be about what was sent, or a part of it,
	// and not about who sent it or where to.
	About bool

	// RetryAfter is how long the endpoint asks to be left alone; 0 if it does not.
	RetryAfter time.Duration
}

const (
	// maxDrain and drainFor bound what is read of an answer so that its connection can be
	// used again.
	maxDrain = 256 << 10
	drainFor = time.Second

	// maxReason bounds what is told of the answer to a request that was not taken, in bytes.
	maxReason = 200

	maxRedirects = 10
)

// Send sends a request: body in the URL or posted, with header besides what all
// requests have. It returns when the answer's status is known or ctx ends, and keeps
// neither body nor header.
func (e *Endpoint) Send(ctx context.Context, header http.Header, body []byte) Result {
	ctx, cancel := context.WithTimeout(ctx, e.request)
	defer cancel()
	request, err := e.ask(ctx, header, body)
	if err != nil {
		return Result{Outcome: Refused, About: true, Err: e.because(err)}
	}
	response, err := e.client.Do(request)
	if err != nil {
		return e.unanswered(ctx, err)
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusSwitchingProtocols {
		// Its body is the bare connection, and reading that ends with no context.
		return Result{Err: e.because(errors.New("answered 101 (Switching Protocols), which nobody has asked for"))}
	}
	late := time.AfterFunc(drainFor, cancel)
	defer late.Stop()
	r := e.judge(response)
	// The answer itself is known: that its body breaks off, or never ends, changes nothing.
	_, _ = io.CopyN(io.Discard, response.Body, maxDrain)
	return r
}

func (e *Endpoint) ask(ctx context.Context, header http.Header, body []byte) (*http.Request, error) {
	var content io.Reader
	if e.config.Method == http.MethodPost {
		// The transport may still read it when the answer has come.
		content = bytes.NewReader(bytes.Clone(body))
	}
	address, err := e.target.url(body)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, e.config.Method, address, content)
	if err != nil {
		return nil, withoutURL(err)
	}
	if content != nil && e.config.ContentType != "" {
		request.Header.Set("Content-Type", e.config.ContentType)
	}
	request.Header.Set("User-Agent", e.config.UserAgent)
	maps.Copy(request.Header, header)
	maps.Copy(request.Header, e.config.Header)
	if host := request.Header.Get("Host"); host != "" {
		request.Host = host
		request.Header.Del("Host")
	}
	// Empty, it is not sent, and has the transport send again what met a kept
	// connection that the server was closing. Messages come at least once anyway.
	if request.Header.Get("Idempotency-Key") == "" {
		request.Header["Idempotency-Key"] = []string{}
	}
	return request, nil
}

var (
	errRedirects = fmt.Errorf("more than %d redirects", maxRedirects)
	errDowngrade = errors.New("it redirects from https to http, where others could read along")
)

// redirect decides on following a redirect. Of a POST that is to become a GET the
// body would be lost: its answer is judged as it is.
func (e *Endpoint) redirect(next *http.Request, via []*http.Request) error {
	first := via[0]
	switch {
	case next.Method != first.Method:
		return http.ErrUseLastResponse
	case len(via) >= maxRedirects:
		return errRedirects
	case first.URL.Scheme == "https" && next.URL.Scheme != "https":
		return errDowngrade
	}
	if next.URL.Host != first.URL.Host {
		for key := range e.config.Header {
			next.Header.Del(key) // the key to one house is not for another
		}
		next.Header.Del("Referer") // its query may have a secret, or another message
	}
	return nil
}

// unanswered is the result of a request that got no answer.
func (e *Endpoint) unanswered(ctx context.Context, err error) Result {
	switch {
	case errors.Is(err, errRedirects), errors.Is(err, errDowngrade):
		return Result{Outcome: Refused, Err: e.because(withoutURL(err))}
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = fmt.Errorf("no answer within %s", e.request)
	}
	return Result{Err: e.because(withoutURL(err))}
}

// judge tells what an answer means.
func (e *Endpoint) judge(response *http.Response) Result {
	status := response.StatusCode
	post := e.config.Method == http.MethodPost
	if status == http.StatusOK || post && status/100 == 2 {
		return Result{Outcome: Taken}
	}
	text := "answered " + statusText(status)
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther:
		text += fmt.Sprintf(", redirects to %s: following would lose the body, so give --post that URL", location(response))
	default:
		if status/100 == 2 {
			text += ", of which GET counts 200 only as success"
		}
		text += reason(response.Body)
	}
	r := Result{Err: e.because(errors.New(text))}
	switch {
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests:
	case status/100 == 3 || status/100 == 4:
		r.Outcome, r.About = Refused, about(status)
	}
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		r.RetryAfter = retryAfter(response.Header, time.Now())
	}
	return r
}

// about reports whether a refusal with this status may be about what was sent.
func about(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusForbidden, http.StatusNotFound,
		http.StatusMethodNotAllowed, http.StatusProxyAuthRequired, http.StatusGone:
		return false
	}
	return status/100 == 4
}

// maxRetryAfter bounds for how long an endpoint can have itself left alone.
const maxRetryAfter = 15 * time.Minute

// retryAfter is what the header of that name says, in seconds or as a time, which
// is by the endpoint's clock if it tells that.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	// Out of range, it is the largest that there is.
	if seconds, err := strconv.ParseUint(text, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	if theirs, err := http.ParseTime(h.Get("Date")); err == nil {
		now = theirs
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}

func statusText(status int) string {
	if text := http.StatusText(status); text != "" {
		return fmt.Sprintf("%d (%s)", status, text)
	}
	return strconv.Itoa(status)
}

// reason is what a body says, up to a line that an operator can read.
func reason(body io.Reader) string {
	said := make([]byte, maxReason)
	n, _ := io.ReadFull(body, said)
	if text := strings.TrimSpace(string(said[:n])); text != "" {
		return fmt.Sprintf(": %q", text)
	}
	return ""
}

func location(response *http.Response) string {
	u, err := response.Location()
	if err != nil {
		return "nowhere"
	}
	return name(u)
}

// because is why the endpoint has not taken a request.
func (e *Endpoint) because(err error) error {
	return fmt.Errorf("%s %s: %w", e.config.Method, e.name, err)
}

// withoutURL takes off what net/http puts around errors: the whole URL, with a body
// or a key in its query.
func withoutURL(err error) error {
	var whole *url.Error
	if errors.As(err, &whole) {
		return whole.Err
	}
	return err
}
