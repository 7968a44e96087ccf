package stats

import (
	"bytes"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/qd/queue"
)

// Text renders what was gathered for people, in nsqd's layout: scripts cut
// columns out of it.
func (s *Daemon) Text(started time.Time) []byte {
	var w bytes.Buffer
	fmt.Fprintf(&w, "qd v%s (speaks NSQ %s, built w/%s)\n", program.Version, s.Version, runtime.Version())
	fmt.Fprintf(&w, "start_time %s\n", started.Format(time.RFC3339))
	fmt.Fprintf(&w, "uptime %s\n", time.Since(started))
	fmt.Fprintf(&w, "\nHealth: %s\n", s.Health)
	if s.Memory != nil {
		s.Memory.print(&w)
	}
	if len(s.Topics) == 0 {
		w.WriteString("\nTopics: None\n")
	} else {
		w.WriteString("\nTopics:")
	}
	for i := range s.Topics {
		s.Topics[i].print(&w)
	}
	if len(s.Producers) == 0 {
		w.WriteString("\nProducers: None\n")
	} else {
		w.WriteString("\nProducers:\n")
	}
	for i := range s.Producers {
		w.WriteString("   ")
		s.Producers[i].printProducer(&w)
	}
	return w.Bytes()
}

func (m *Memory) print(w *bytes.Buffer) {
	w.WriteString("\nMemory:\n")
	for _, g := range append(m.Gauges(), Gauge{"gc_total_runs", uint64(m.GCTotalRuns)}) {
		fmt.Fprintf(w, "   %-25s\t%d\n", g.Name, g.Value)
	}
}

func (t *Topic) print(w *bytes.Buffer) {
	fmt.Fprintf(w, "\n%s[%-15s] depth: %-5d be-depth: %-5d msgs: %-8d e2e%%: %s\n",
		pauseMark(t.Paused), t.Name, t.Depth, t.BackendDepth, t.MessageCount, join(t.Latency.String(), t.damage(), why(t.Pause)))
	for i := range t.Channels {
		c := &t.Channels[i]
		fmt.Fprintf(w, "   %s[%-25s] depth: %-5d be-depth: %-5d inflt: %-4d def: %-4d re-q: %-5d timeout: %-5d msgs: %-8d e2e%%: %s\n",
			pauseMark(c.Paused), c.Name, c.Depth, c.BackendDepth, c.InFlightCount, c.DeferredCount,
			c.RequeueCount, c.TimeoutCount, c.MessageCount, join(c.Latency.String(), c.dead(), why(c.Pause)))
		for j := range c.Clients {
			w.WriteString("        ")
			c.Clients[j].printConsumer(w)
		}
	}
}

// damage and dead are behind all of nsqd's columns, and empty when all is well.
func (t *Topic) damage() string {
	if l := t.Log; l != nil && l.Damaged+l.Lost > 0 {
		return fmt.Sprintf("damaged: %d lost: %d", l.Damaged, l.Lost)
	}
	return ""
}

func (c *Channel) dead() string {
	if c.DeadCount > 0 {
		return fmt.Sprintf("dead: %d", c.DeadCount)
	}
	return ""
}

// why is the reason of a pause, behind all other columns: it may be any words.
func why(p *queue.Pause) string {
	if p == nil || p.Reason == "" {
		return ""
	}
	return "paused: " + p.Reason
}

// join puts columns of ours, those that say something, behind nsqd's last one.
func join(columns ...string) string {
	return strings.Join(slices.DeleteFunc(columns, func(c string) bool { return c == "" }), " ")
}

func pauseMark(paused bool) string {
	if paused {
		return "*P "
	}
	return "   "
}

func (s *Client) printConsumer(w *bytes.Buffer) {
	fmt.Fprintf(w, "[%s %-21s] state: %d inflt: %-4d rdy: %-4d fin: %-8d re-q: %-8d msgs: %-8d connected: %s\n",
		s.Version, s.label(), s.State, s.InFlightCount, s.ReadyCount, s.FinishCount, s.RequeueCount, s.MessageCount, s.age())
}

func (s *Client) printProducer(w *bytes.Buffer) {
	var total uint64
	var topics []string
	for _, p := range s.PubCounts {
		total += p.Count
		topics = append(topics, fmt.Sprintf("%s=%d", p.Topic, p.Count))
	}
	fmt.Fprintf(w, "[%s %-21s] msgs: %-8d topics: %s connected: %s\n",
		s.Version, s.label(), total, strings.Join(topics, ","), s.age())
}

func (s *Client) label() string {
	_, end, err := net.SplitHostPort(s.RemoteAddress)
	if err != nil { // the path of a socket file
		end = s.RemoteAddress
	}
	return s.Hostname + ":" + end + " " + s.UserAgent
}

func (s *Client) age() time.Duration {
	return time.Since(time.Unix(s.ConnectTime, 0)).Truncate(time.Second)
}
