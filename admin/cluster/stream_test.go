package cluster_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/admin/cluster/clustertest"
)

// An answer that is streamed may take longer than RequestTimeout, if each part of it comes
// in that time, and all in twelve times that. What the reader itself takes does not count.
func TestStream(t *testing.T) {
	for name, tt := range map[string]struct {
		pause, work time.Duration
		parts       int
		say         string // empty: it succeeds
		within      time.Duration
	}{
		"at once":       {0, 0, 3, "", 0},
		"slow":          {4 * time.Second, 0, 10, "", 40 * time.Second},
		"slow reader":   {time.Second, 100 * time.Second, 5, "", 505 * time.Second},
		"stops":         {6 * time.Second, 0, 3, "no answer within 5s", 5 * time.Second},
		"for ever slow": {4 * time.Second, 0, 1000, "no answer within 5s", 60 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := clustertest.NewFleet(t, clustertest.InMemory())
				f.Nodes[0].HandlePath("", func(w http.ResponseWriter, r *http.Request) {
					for range tt.parts {
						_, _ = io.WriteString(w, "x")
						_ = http.NewResponseController(w).Flush()
						select {
						case <-time.After(tt.pause):
						case <-r.Context().Done():
						}
					}
				})
				began, got := time.Now(), 0
				err := f.Cluster(t).Stream(t.Context(), f.Nodes[0].Address(), "/stats", nil, func(body io.Reader) error {
					for {
						n, err := body.Read(make([]byte, 1))
						got += n
						if n > 0 {
							time.Sleep(tt.work)
						}
						if err == io.EOF {
							return nil
						}
						if err != nil {
							return err
						}
					}
				})
				if took := time.Since(began); took > tt.within {
					t.Errorf("it took %v, want %v", took, tt.within)
				}
				if tt.say == "" && (err != nil || got != tt.parts) || tt.say != "" && (err == nil || !strings.Contains(err.Error(), tt.say)) {
					t.Errorf("%d bytes, %v; want %q", got, err, tt.say)
				}
			})
		})
	}
}
