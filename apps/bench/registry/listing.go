package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"time"
)

// rounds is how often what is done as a whole is done; the median counts.
const rounds = 3

// whole is what it took to read a listing at once.
type whole struct {
	first, all time.Duration // from the request to the first byte of the body, to the last
	bytes      int64
}

// read asks for path as a whole, rounds times, and returns the median.
func (a *auditor) read(ctx context.Context, path string) (whole, error) {
	var got []whole
	for range rounds {
		w, err := a.readOnce(ctx, path)
		if err != nil {
			a.close()
			return w, fmt.Errorf("GET %s: %w", path, because(ctx, err))
		}
		got = append(got, w)
	}
	slices.SortFunc(got, func(a, b whole) int { return cmp.Compare(a.all, b.all) })
	return got[(len(got)-1)/2], nil
}

func (a *auditor) readOnce(ctx context.Context, path string) (w whole, err error) {
	start := time.Now()
	if err := a.begin(ctx, path); err != nil {
		return w, err
	}
	n, err := a.client.Read(make([]byte, 1))
	if err != nil && err != io.EOF {
		return w, err
	}
	w.first = time.Since(start)
	w.bytes, err = io.Copy(io.Discard, &a.client)
	w.all, w.bytes = time.Since(start), w.bytes+int64(n)
	if err == nil && a.status != 200 {
		err = fmt.Errorf("lookupd answered %d", a.status)
	}
	return w, err
}

// paged is what it took to read a listing page by page.
type paged struct {
	times []time.Duration // of each page, sorted
	sum   time.Duration
	bytes int64
}

// readPages reads path page by page and counts what there is. offered is false
// if the lookupd knows no pages.
func (a *auditor) readPages(ctx context.Context, path string, entries *tally) (p paged, offered bool, err error) {
	limit := max(min(a.page, len(entries.seen)/3), 1)
	for after := ""; ; {
		start := time.Now()
		body, err := a.get(ctx, fmt.Sprintf("%s?limit=%d%s", path, limit, after), nil)
		if err != nil {
			return p, false, err
		}
		took := time.Since(start)
		p.times, p.sum, p.bytes = append(p.times, took), p.sum+took, p.bytes+int64(len(body))
		next, n, err := a.count(body, entries)
		if err != nil {
			return p, false, fmt.Errorf("GET %s, page %d: %w", path, len(p.times), err)
		}
		if n > limit {
			if len(p.times) == 1 && next == "" {
				return p, false, nil
			}
			return p, false, fmt.Errorf("GET %s, page %d: %d entries, not %d at the most", path, len(p.times), n, limit)
		}
		if next == "" || entries.twice > 0 { // which could go on for ever
			break
		}
		after = "&after=" + url.QueryEscape(next)
	}
	slices.Sort(p.times)
	return p, true, entries.complete()
}

// count counts the n entries of a page and returns what the next one begins after.
func (a *auditor) count(body []byte, entries *tally) (next string, n int, err error) {
	var page struct {
		Topics    []string
		Producers []node
		Next      string
	}
	if err := json.Unmarshal(body, &page); err != nil {
		return "", 0, err
	}
	for _, name := range page.Topics {
		entries.saw(a.topicNumber(name))
	}
	for _, n := range page.Producers {
		if err := a.node(n, entries); err != nil {
			return "", 0, err
		}
	}
	if n = len(page.Topics) + len(page.Producers); n == 0 && page.Next != "" {
		return "", 0, fmt.Errorf("it is empty and not the last")
	}
	return page.Next, n, nil
}
