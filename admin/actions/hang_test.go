package actions_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/admin/cluster/clustertest"
)

// Who takes requests and never answers holds an action up for a bounded time, and keeps
// nobody else from being told.
func TestHang(t *testing.T) {
	eight := ""
	for i := range 8 {
		eight += " " + clustertest.TopicName(i)
	}
	for _, c := range []struct {
		line string
		most time.Duration
	}{
		{"pause-topic topic-00000", 11 * time.Second},
		{"pause-topic" + eight, 20 * time.Second},
		{"create-channel topic-00000/new", 16 * time.Second},
		{"publish topic-00000@qd-0 body=x", 6 * time.Second},
		{"pause-node @qd-0", 6 * time.Second},
		{"disconnect @qd-0!7", 6 * time.Second},
		{"empty-channel topic-00000/channel-0", 36 * time.Second},
		{"delete-topic topic-00000", 41 * time.Second},
		{"delete-topic" + eight, 80 * time.Second},
		{"tombstone topic-00000@qd-0", 36 * time.Second},
		{"revive topic-00000/channel-0 all=true", 36 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := start(t, noSettings, clustertest.Nodes(2), clustertest.Lookupds(2), clustertest.Topics(8))
			b.Lookupds[0].Hang()
			b.Nodes[0].Hang()
			began := time.Now()
			got := b.do(c.line)
			if took := time.Since(began); took > c.most {
				t.Errorf("%s took %v, want at most %v", c.line, took, c.most)
			}
			if strings.Contains(c.line, "@qd-0") {
				return
			}
			if !strings.Contains(got, "\nqd-1 ok") {
				t.Errorf("%s:\n%s", c.line, got)
			}
		})
	}
}
