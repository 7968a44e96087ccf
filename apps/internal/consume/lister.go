package consume

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	millrace "github.com/millrace-mq/millrace/clients/go"
)

// askFor is how long a lookupd may take to list its topics, unless the settings say.
const askFor = 5 * time.Second

// maxListing bounds such a list, in bytes: a hundred thousand topics are about seven
// megabytes.
const maxListing = 64 << 20

// lister asks lookupds which topics there are.
type lister struct {
	http     *http.Client
	bases    []*url.URL
	patience time.Duration // with an answer
	secret   string        // shown as a token; empty is none
}

// newLister returns a lister of the lookupds, which are given as host:port or as URLs.
func newLister(lookups []string, secure *tls.Config, dial millrace.Dialer) (*lister, error) {
	l := &lister{patience: askFor, http: &http.Client{Transport: &http.Transport{
		DialContext: dial, TLSClientConfig: secure, Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 1,
	}}}
	var errs []error
	for _, text := range lookups {
		u, err := LookupdURL(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("lookupd-http-address %w", err))
			continue
		}
		l.bases = append(l.bases, u)
	}
	return l, errors.Join(errs...)
}

// LookupdURL returns where a lookupd is that a flag names as host:port or as a URL.
func LookupdURL(text string) (*url.URL, error) {
	address := text
	if !strings.Contains(text, "://") {
		address = "http://" + text
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("%q: must be host:port, or a URL", text)
	}
	return u, nil
}

func (l *lister) close() { l.http.CloseIdleConnections() }

// listing is what lookupds said.
type listing struct {
	topics []string // each once, sorted
	down   []error  // one for each lookupd that did not answer
}

// ask asks all lookupds at once.
func (l *lister) ask(ctx context.Context) (all listing) {
	topics, errs := make([][]string, len(l.bases)), make([]error, len(l.bases))
	var wg sync.WaitGroup
	for i, base := range l.bases {
		wg.Go(func() { topics[i], errs[i] = l.askOne(ctx, base) })
	}
	wg.Wait()
	for i := range l.bases {
		all.topics = append(all.topics, topics[i]...)
		if errs[i] != nil {
			all.down = append(all.down, errs[i])
		}
	}
	slices.Sort(all.topics)
	all.topics = slices.Compact(all.topics)
	return all
}

func (l *lister) askOne(ctx context.Context, base *url.URL) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, l.patience)
	defer cancel()
	u := base.JoinPath("topics").String()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/vnd.nsq; version=1.0")
	if l.secret != "" && request.URL.User == nil {
		request.Header.Set("Authorization", "Bearer "+l.secret)
	}
	response, err := l.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("list topics: GET %s: %s", u, response.Status)
	}
	var answer struct{ Topics []string }
	if err := json.NewDecoder(io.LimitReader(response.Body, maxListing)).Decode(&answer); err != nil {
		return nil, fmt.Errorf("list topics: GET %s: %w", u, err)
	}
	return answer.Topics, nil
}
