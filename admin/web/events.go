package web

import (
	"bytes"
	"context"
	"encoding/json"
	"hash/fnv"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/admin/signin"
)

const (
	maxViewers    = 1000             // streams at a time
	maxShared     = 512              // pages of a snapshot that are kept for others; who likes can ask for millions
	eventTimeout  = 15 * time.Second // for a browser to make room for an event
	beat          = 15 * time.Second // without anything else, so that proxies keep the connection
	streamLife    = 10 * time.Minute // then the browser connects anew, and who it is is asked again
	retryAfter    = "10"             // seconds, when there are too many viewers
	streamPadding = "retry: 2000\n\n"
)

// events streams a page: its inside whenever that has changed, and the counts of the
// frame with each snapshot. It ends with the request's context, and when the server is to
// stop; no goroutine is started for it.
func (u *UI) events(w http.ResponseWriter, r *http.Request) {
	target, err := url.Parse(back(r.FormValue("page")))
	if err != nil {
		http.Error(w, "page is not an address", http.StatusBadRequest)
		return
	}
	if u.viewers.Add(1) > maxViewers {
		u.viewers.Add(-1)
		w.Header().Set("Retry-After", retryAfter)
		http.Error(w, "Too many pages are live at once; this one can be reloaded.", http.StatusServiceUnavailable)
		return
	}
	defer func() {
		if u.viewers.Add(-1) == 0 {
			u.renders.drop()
		}
	}()
	s := newStream(w, r)
	defer s.end()
	ctx, cancel := context.WithTimeout(r.Context(), streamLife)
	defer cancel()
	u.follow(ctx, s, u.watcher(r), target, r.FormValue("have"), r.FormValue("version"))
}

// watcher tells who looks at a stream, asked again with each event: somebody may sign out,
// or lose his role, while it goes on.
func (u *UI) watcher(r *http.Request) func() signin.Who {
	first := signin.FromContext(r.Context())
	return func() signin.Who {
		if u.Who == nil {
			return first
		}
		return u.Who(r)
	}
}

// follow sends what changes until ctx ends or the browser has gone. have is the hash
// of what the browser shows, version that of its scripts.
func (u *UI) follow(ctx context.Context, s *stream, watcher func() signin.Who, target *url.URL, have, version string) {
	role := watcher().Role
	p, _ := u.match(target.EscapedPath())
	still := p != nil && p.still
	for {
		who := watcher()
		if who.Role == signin.Nobody || who.Role != role || version != "" && version != u.assets.version {
			_ = s.send("reload", nil) // it asks again, and is sent to sign in or gets what is new
			return
		}
		changed := u.Source.Changed() // before Latest, or a snapshot between the two would be missed
		snapshot := u.Source.Latest()
		var shown *view // nil of a page that stays as it is: its frame alone is followed
		var wake <-chan struct{}
		if !still {
			p := u.renders.get(u, who, snapshot, target)
			if p.hash != have {
				if s.send("page", p.main) != nil {
					return
				}
				have = p.hash
			}
			shown, wake = p.view, p.view.wake
		}
		if s.send("sample", u.sample(shown, snapshot)) != nil || !s.wait(ctx, u.Stopping, changed, wake) {
			return
		}
	}
}

// sample is what the frame of a page needs to know of a snapshot.
func (u *UI) sample(v *view, s *fleet.Snapshot) []byte {
	c := countsOf(s)
	title := "" // stays as it is
	if v != nil {
		title = windowTitle(c, v.Title, u.ClusterName)
	}
	line, err := json.Marshal(struct {
		counts
		Title string `json:"title,omitempty"`
	}{c, title})
	if err != nil {
		panic(err) // strings and numbers
	}
	return line
}

// stream is an answer of server-sent events. Its compression keeps nothing between two
// events: a window for each of a thousand viewers would be the most of our memory.
type stream struct {
	to     io.Writer
	flush  *http.ResponseController
	packed *gzip.Writer // nil if the browser does not take it
	beat   *time.Timer
}

func newStream(w http.ResponseWriter, r *http.Request) *stream {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would wait for more
	h.Set("Vary", "Accept-Encoding")
	s := &stream{to: w, flush: http.NewResponseController(w), beat: time.NewTimer(beat)}
	if acceptsGzip(r) {
		h.Set("Content-Encoding", "gzip")
		s.packed, _ = gzip.NewWriterLevel(w, gzip.StatelessCompression) // the level exists
		s.to = s.packed
	}
	_ = s.write([]byte(streamPadding)) // the first event finds out as well who has gone
	return s
}

// send writes an event. A carriage return in its data would end a line, and what is
// behind it be read as a field: as a reference it is the same character to HTML.
func (s *stream) send(event string, data []byte) error {
	var b bytes.Buffer
	b.WriteString("event: " + event + "\n")
	data = bytes.ReplaceAll(data, []byte("\r"), []byte("&#13;"))
	for line := range bytes.SplitSeq(data, []byte("\n")) {
		b.WriteString("data: ")
		b.Write(line)
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	return s.write(b.Bytes())
}

func (s *stream) write(b []byte) error {
	// Not every ResponseWriter has deadlines; those of net/http do.
	_ = s.flush.SetWriteDeadline(time.Now().Add(eventTimeout))
	if _, err := s.to.Write(b); err != nil {
		return err
	}
	return s.flush.Flush()
}

// wait returns true when it is time to look again, and false when the stream is to end.
func (s *stream) wait(ctx context.Context, stopping, changed, wake <-chan struct{}) bool {
	for {
		s.beat.Reset(beat)
		select {
		case <-changed:
			return true
		case <-wake:
			return true
		case <-s.beat.C:
			if s.write([]byte(":\n\n")) != nil {
				return false
			}
		case <-stopping:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// end leaves the connection as it was found: another request may come over it.
func (s *stream) end() {
	s.beat.Stop()
	if s.packed != nil {
		_ = s.packed.Close() // the browser has gone, or connects anew
	}
	_ = s.flush.SetWriteDeadline(time.Time{})
}

// renders are the pages of one snapshot that were rendered for streams: whoever looks
// at the same page in the same role shares it.
type renders struct {
	mu       sync.Mutex
	snapshot *fleet.Snapshot
	pages    map[renderKey]*sharedRender
}

type renderKey struct {
	role   signin.Role
	target string
}

type sharedRender struct {
	once sync.Once
	rendered
	hash string
}

// get renders target, or returns what another stream has rendered of this snapshot. A
// page that changes between snapshots is not shared.
func (c *renders) get(u *UI, who signin.Who, s *fleet.Snapshot, target *url.URL) *sharedRender {
	key := renderKey{who.Role, target.String()}
	c.mu.Lock()
	if c.snapshot != s {
		c.snapshot, c.pages = s, map[renderKey]*sharedRender{}
	}
	p := c.pages[key]
	if p == nil {
		p = new(sharedRender)
		if len(c.pages) < maxShared {
			c.pages[key] = p
		}
	}
	c.mu.Unlock()
	p.once.Do(func() {
		// Not with the context of the one who happens to come first: if he left, all
		// others would get what he had not waited for.
		p.rendered = u.render(context.Background(), who, s, target)
		p.hash = hashOf(p.main)
		if p.view.wake != nil {
			c.forget(s, key)
		}
	})
	return p
}

func (c *renders) forget(s *fleet.Snapshot, key renderKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.snapshot == s {
		delete(c.pages, key)
	}
}

// drop forgets all, when nobody looks any more: a snapshot may be a hundred megabytes.
func (c *renders) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.snapshot, c.pages = nil, nil
}

// hashOf tells two renderings apart.
func hashOf(main []byte) string {
	h := fnv.New64a()
	_, _ = h.Write(main)
	return strconv.FormatUint(h.Sum64(), 36)
}
