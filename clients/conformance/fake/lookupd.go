package fake

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/millrace-mq/millrace/clients/conformance/script"
)

// Lookupd is a lookup daemon's HTTP side. It lists nobody until it is told to.
type Lookupd struct {
	Name    string
	Address string
	world   *World

	// Guarded by World.mu.
	server *http.Server
	answer script.Lookup
	stock  bool
	asked  []string // what for, since the answer was changed
}

// NewLookupd starts a lookupd.
func (w *World) NewLookupd(name string) (*Lookupd, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	d := &Lookupd{Name: name, Address: l.Addr().String(), world: w}
	d.listen(l)
	return d, nil
}

// Start lets a stopped lookupd be asked again.
func (l *Lookupd) Start(ctx context.Context) error {
	listener, err := listenAgain(ctx, l.Address)
	if err == nil {
		l.listen(listener)
	}
	return err
}

func (l *Lookupd) listen(listener net.Listener) {
	server := &http.Server{Handler: l, ReadHeaderTimeout: time.Minute}
	l.world.Do(func(func(string, ...any)) { l.server, l.asked = server, nil })
	l.world.wg.Go(func() { _ = server.Serve(listener) })
}

// Stop closes it, and what is being asked.
func (l *Lookupd) Stop() {
	var server *http.Server
	l.world.Do(func(func(string, ...any)) { server, l.server, l.asked = l.server, nil, nil })
	if server != nil {
		_ = server.Close()
	}
}

// Change has it answer otherwise from now on.
func (l *Lookupd) Change(answer script.Lookup) {
	l.world.Do(func(func(string, ...any)) {
		if answer.How == script.LookupStock {
			l.stock = true
		} else {
			l.answer = answer
		}
		l.asked = nil
	})
}

// ExpectAsked waits until it was asked, for something with a part of its path
// and query, since its answer was changed. A second call waits for another: by
// then, the one that was asked before has used what it was told.
func (l *Lookupd) ExpectAsked(ctx context.Context, part string) error {
	if !l.world.Wait(ctx, func() bool {
		i := slices.IndexFunc(l.asked, func(a string) bool { return strings.Contains(a, part) })
		l.asked = l.asked[i+1:]
		return i >= 0
	}) {
		return fmt.Errorf("nobody has asked %s", l.Name)
	}
	return nil
}

func (l *Lookupd) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status, body, hangs := 0, "", false
	l.world.Do(func(note func(string, ...any)) {
		note("%s is asked for %s", l.Name, r.URL)
		l.asked = append(l.asked, r.URL.String())
		status, body = l.replyLocked(r.URL.Path)
		hangs = l.answer.How == script.LookupHangs
	})
	if hangs {
		<-r.Context().Done()
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("X-NSQ-Content-Type", "nsq; version=1.0")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body))
}

func (l *Lookupd) replyLocked(path string) (status int, body string) {
	known := path == "/lookup" || path == "/nodes" || path == "/producers/available" && !l.stock
	switch {
	case !known:
		return http.StatusNotFound, `{"message":"NOT_FOUND"}`
	case l.answer.How == script.LookupRaw:
		return l.answer.Status, l.answer.Body
	case l.answer.How == script.LookupUnknown && path == "/lookup":
		return http.StatusNotFound, `{"message":"TOPIC_NOT_FOUND"}`
	}
	list := []map[string]any{}
	for i, p := range l.answer.Daemons {
		at := l.world.byName[p.Daemon]
		list = append(list, map[string]any{
			"remote_address": "127.0.0.1:1", "hostname": at.host, "broadcast_address": at.host, "tcp_port": at.port,
			"http_port": i + 1, "version": "1.3.0", "topology_zone": p.Zone, "topology_region": p.Region,
			"topics": []string{}, "tombstones": []bool{},
		})
	}
	text, err := json.Marshal(map[string]any{"channels": []string{}, "producers": list})
	if err != nil {
		panic(err)
	}
	return http.StatusOK, string(text)
}
