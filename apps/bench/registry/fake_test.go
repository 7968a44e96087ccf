package registry

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/millrace-mq/millrace/protocol"
)

// fake is a small lookupd that offers the extension and pages, and can do wrong.
type fake struct {
	extended bool
	paged    bool
	forever  bool                          // there is always another page
	generous bool                          // pages are whole listings, and there is another
	reply    func(line string) string      // instead of OK, unless empty
	listing  func(all []string) []string   // what /topics says
	lookup   func(all []any) []any         // what /lookup says of producers
	before   func(http.ResponseWriter) int // a status to answer instead; 0 for none

	mu    sync.Mutex // guards below
	peers map[*fakePeer]bool
	lines []string // of the commands, in the order of their coming
}

type fakePeer struct {
	info   protocol.PeerInfo
	topics map[string]map[string]bool // channels by topic
}

// start serves until the test ends.
func (f *fake) start(t *testing.T) (tcp, web string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.peers = map[*fakePeer]bool{}
	var wg sync.WaitGroup
	wg.Go(func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			wg.Go(func() { f.converse(c) })
		}
	})
	s := httptest.NewServer(http.HandlerFunc(f.answer))
	t.Cleanup(func() {
		s.Close()
		_ = l.Close()
		wg.Wait()
	})
	return l.Addr().String(), s.Listener.Addr().String()
}

func (f *fake) converse(c net.Conn) {
	defer func() { _ = c.Close() }()
	in := bufio.NewReader(c)
	_, _ = in.Discard(len(protocol.MagicV1))
	p := &fakePeer{topics: map[string]map[string]bool{}}
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.peers, p)
	}()
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSuffix(line, "\n")
		if line == "IDENTIFY" {
			var size [4]byte
			_, _ = io.ReadFull(in, size[:])
			body := make([]byte, binary.BigEndian.Uint32(size[:]))
			_, _ = io.ReadFull(in, body)
			_ = json.Unmarshal(body, &p.info)
		}
		reply := f.note(p, line)
		if _, err := c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(reply))), reply...)); err != nil || strings.HasPrefix(reply, "E_") {
			return
		}
	}
}

func (f *fake) note(p *fakePeer, line string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lines = append(f.lines, line)
	if f.reply != nil {
		if reply := f.reply(line); reply != "" {
			return reply
		}
	}
	words := strings.Split(line, " ")
	switch {
	case line == "IDENTIFY":
		f.peers[p] = true
		return fmt.Sprintf(`{"version":"fake","extended":%t}`, f.extended)
	case words[0] == "REGISTER":
		if p.topics[words[1]] == nil {
			p.topics[words[1]] = map[string]bool{}
		}
		if len(words) > 2 && words[2] != "" {
			p.topics[words[1]][words[2]] = true
		}
	}
	return protocol.OK
}

func (f *fake) answer(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.before != nil {
		if status := f.before(w); status != 0 {
			w.WriteHeader(status)
			return
		}
	}
	topics := map[string]map[string]bool{}
	var nodes []any
	var having []any
	asked := r.FormValue("topic")
	for p := range f.peers {
		var names []string
		for t, channels := range p.topics {
			names = append(names, t)
			if topics[t] == nil {
				topics[t] = map[string]bool{}
			}
			for c := range channels {
				topics[t][c] = true
			}
		}
		entry := map[string]any{"hostname": p.info.Hostname, "broadcast_address": p.info.BroadcastAddress}
		if p.topics[asked] != nil {
			having = append(having, entry)
		}
		nodes = append(nodes, map[string]any{"hostname": p.info.Hostname, "broadcast_address": p.info.BroadcastAddress, "topics": names})
	}
	switch r.URL.Path {
	case "/topics":
		all := sortedKeys(topics)
		if f.listing != nil {
			all = f.listing(all)
		}
		f.page(w, r, "topics", len(all), func(from, to int) any { return all[from:to] })
	case "/nodes":
		slices.SortFunc(nodes, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		f.page(w, r, "producers", len(nodes), func(from, to int) any { return nodes[from:to] })
	case "/lookup":
		if f.lookup != nil {
			having = f.lookup(having)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"channels": sortedKeys(topics[asked]), "producers": having})
	}
}

// page answers with the entries that are asked for. What a page begins after is
// how many were before it.
func (f *fake) page(w http.ResponseWriter, r *http.Request, key string, n int, entries func(from, to int) any) {
	from, _ := strconv.Atoi(r.FormValue("after"))
	to := n
	answer := map[string]any{}
	if limit, err := strconv.Atoi(r.FormValue("limit")); err == nil && f.paged && from+limit < n {
		to = from + limit
		answer["next"] = strconv.Itoa(to)
	}
	switch {
	case r.FormValue("limit") == "":
	case f.forever:
		from, to = min(from, n), min(from+2, n)
		answer["next"] = strconv.Itoa(n)
	case f.generous:
		from, to = 0, n
	}
	answer[key] = entries(from, to)
	_ = json.NewEncoder(w).Encode(answer)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := []string{}
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
