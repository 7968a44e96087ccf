package browser

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/millrace-mq/millrace/admin/cluster/clustertest"
)

// newFake starts an admin whose daemons are played.
func newFake(t *testing.T, fleet *clustertest.Fleet, flags ...string) *house {
	t.Helper()
	h := &house{t: t}
	for _, l := range fleet.Lookupds {
		flags = append(flags, "--lookupd-http-address="+l.Address())
	}
	h.admin = newProgram(t, "admin", append([]string{"--sample-interval=500ms", "--cluster-name=test"}, flags...)...)
	h.admin.start()
	h.base = "http://" + h.admin.http
	return h
}

// watch follows the events of a page until it has seen so many samples. It calls each
// with the number of the sample, the first of which is 1.
func watch(ctx context.Context, base, page string, samples int, each func(n int)) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/events?"+url.Values{"page": {page}}.Encode(), nil)
	if err != nil {
		return err
	}
	r.Header.Set("Accept", "text/event-stream")
	// A connection of its own, as each browser has.
	client := http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}}
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 16<<20)
	seen, last := 0, int64(0)
	for sample := false; seen < samples && lines.Scan(); {
		line := lines.Text()
		if data, is := strings.CutPrefix(line, "data: "); is && sample {
			var s struct{ At int64 }
			if err := json.Unmarshal([]byte(data), &s); err != nil {
				return err
			}
			if s.At != last {
				last = s.At
				seen++
				each(seen)
			}
		}
		sample = line == "event: sample"
	}
	return lines.Err()
}

// TestViewersCostOnePoll counts what daemons are asked while many look at the same pages
// and at others: a poll for each sample, and one request more for the clients of each topic
// or channel that is looked at.
func TestViewersCostOnePoll(t *testing.T) {
	t.Parallel()
	const viewers, samples = 20, 8
	for _, tt := range []struct {
		name  string
		pages []string
		each  int // requests of a node for a sample
	}{
		{"lists", []string{"/", "/topics", "/nodes", "/topics?sort=depth", "/counter"}, 1},
		{"a topic and a channel, with their clients", []string{"/topics/topic-00001", "/topics/topic-00001/channel-0"}, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fleet := clustertest.NewFleet(t, clustertest.Nodes(2), clustertest.Topics(20))
			h := newFake(t, fleet)
			h.answers(h.base+"/topics", "topic-00001")
			b := open(t, h.base)
			b.visit(tt.pages[0])
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var began, ended int
			var wg sync.WaitGroup
			for i := range viewers {
				wg.Go(func() {
					err := watch(ctx, h.base, tt.pages[i%len(tt.pages)], samples, func(n int) {
						switch {
						case i == 0 && n == 1:
							began = fleet.Nodes[0].Requests("/stats")
						case i == 0 && n == samples:
							ended = fleet.Nodes[0].Requests("/stats")
						}
					})
					if err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			// What is told as sample 1 and sample 8 may be late by a poll each.
			if asked, most := ended-began, tt.each*(samples+1); asked > most {
				t.Errorf("%d viewers: the node was asked %d times for %d samples, want %d at most", viewers, asked, samples, most)
			}
		})
	}
}
