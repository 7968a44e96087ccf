package api_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/qd/api"
	"github.com/millrace-mq/millrace/qd/broker"
)

type node struct {
	State       string
	DiskFree    *int64 `json:"disk_free"`
	DiskSize    int64  `json:"disk_size"`
	MemoryUsed  int64  `json:"memory_used"`
	MemoryLimit int64  `json:"memory_limit"`
}

// node is what /stats says of the daemon as a whole.
func (d *daemon) node(query string) node {
	d.t.Helper()
	var stats struct{ Node node }
	d.get("/stats?format=json"+query, &stats)
	return stats.Node
}

// The daemon's state, disk and memory, whatever else is asked for.
func TestStatsOfTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMedium(t)
		m.disk.SetCapacity(1 << 30)
		d := m.start(t, func(s *broker.Settings, _ *api.Config) { s.MemoryBytes, s.MinFree = 1<<20, 1<<29 })
		d.topic("t")
		d.do("/mpub?topic=t", "a\nb")
		time.Sleep(2 * time.Second)
		for _, query := range []string{"", "&topic=t", "&topic=none", "&include_clients=false&include_mem=false"} {
			n := d.node(query)
			if n.State != "ready" || n.DiskSize != 1<<30 || n.DiskFree == nil || *n.DiskFree >= 1<<30 || *n.DiskFree < 1<<29 {
				t.Errorf("%s: %+v", query, n)
			}
			if n.MemoryLimit != 1<<20 || n.MemoryUsed != d.broker.MemoryInUse() || n.MemoryUsed == 0 {
				t.Errorf("%s: %+v", query, n)
			}
		}

		m.disk.SetCapacity(0)
		time.Sleep(2 * time.Second)
		if n := d.node(""); n.State != "failing" || n.DiskFree == nil || *n.DiskFree != 0 {
			t.Errorf("a full disk: %+v", n)
		}
		m.disk.SetCapacity(1 << 30)
		time.Sleep(2 * time.Second)
		d.do("/drain", nil)
		if n := d.node(""); n.State != "draining" {
			t.Errorf("a drain: %+v", n)
		}
		d.broker.Refuse()
		if n := d.node(""); n.State != "stopping" {
			t.Errorf("a stop: %+v", n)
		}
	})
}
