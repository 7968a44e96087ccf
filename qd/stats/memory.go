package stats

import (
	"runtime"
	"slices"
)

// Memory is Go's memory, as nsqd tells it. Messages lie beyond it.
type Memory struct {
	HeapObjects       uint64 `json:"heap_objects"`
	HeapIdleBytes     uint64 `json:"heap_idle_bytes"`
	HeapInUseBytes    uint64 `json:"heap_in_use_bytes"`
	HeapReleasedBytes uint64 `json:"heap_released_bytes"`
	GCPauseUsec100    uint64 `json:"gc_pause_usec_100"`
	GCPauseUsec99     uint64 `json:"gc_pause_usec_99"`
	GCPauseUsec95     uint64 `json:"gc_pause_usec_95"`
	NextGCBytes       uint64 `json:"next_gc_bytes"`
	GCTotalRuns       uint32 `json:"gc_total_runs"`
}

// Gauge is a figure with NSQ's name.
type Gauge struct {
	Name  string
	Value uint64
}

// Gauges are the figures but for the number of collections, which is a counter, in
// nsqd's order.
func (m *Memory) Gauges() []Gauge {
	return []Gauge{
		{"heap_objects", m.HeapObjects},
		{"heap_idle_bytes", m.HeapIdleBytes},
		{"heap_in_use_bytes", m.HeapInUseBytes},
		{"heap_released_bytes", m.HeapReleasedBytes},
		{"gc_pause_usec_100", m.GCPauseUsec100},
		{"gc_pause_usec_99", m.GCPauseUsec99},
		{"gc_pause_usec_95", m.GCPauseUsec95},
		{"next_gc_bytes", m.NextGCBytes},
	}
}

func readMemory() *Memory {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	pauses := m.PauseNs[:min(int(m.NumGC), len(m.PauseNs))] // a ring: the latest, in any order
	slices.Sort(pauses)
	return &Memory{
		HeapObjects: m.HeapObjects, HeapIdleBytes: m.HeapIdle,
		HeapInUseBytes: m.HeapInuse, HeapReleasedBytes: m.HeapReleased,
		GCPauseUsec100: quantile(pauses, 100) / 1000,
		GCPauseUsec99:  quantile(pauses, 99) / 1000,
		GCPauseUsec95:  quantile(pauses, 95) / 1000,
		NextGCBytes:    m.NextGC, GCTotalRuns: m.NumGC,
	}
}

// quantile returns the value that percent of the sorted values are not above,
// or 0 if there are none.
func quantile(sorted []uint64, percent int) uint64 {
	if len(sorted) == 0 {
		return 0
	}
	rank := (percent*len(sorted) + 99) / 100
	return sorted[max(rank, 1)-1]
}
