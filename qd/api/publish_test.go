package api_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/api"
	"github.com/millrace-mq/millrace/qd/broker"
)

// batch is the body of a binary /mpub.
func batch(bodies ...string) string {
	var all [][]byte
	for _, b := range bodies {
		all = append(all, []byte(b))
	}
	return string(protocol.AppendBatch(nil, all))
}

// unsized hides the length of a body, as chunked encoding does.
func unsized(body string) io.Reader { return iotest.HalfReader(strings.NewReader(body)) }

func TestPublished(t *testing.T) {
	full := strings.Repeat("x", maxMsgSize)
	lines := strings.Repeat(strings.Repeat("y", 4999)+"\n", maxBodySize/5000)
	for _, c := range []struct {
		name, path string
		body       any
		want       []string
	}{
		{"one", "/pub?topic=t", "hello world", []string{"hello world"}},
		{"under its old name", "/put?topic=t", "hello", []string{"hello"}},
		{"lines are not split", "/pub?topic=t", "a\n\nb\n", []string{"a\n\nb\n"}},
		{"the largest", "/pub?topic=t", full, []string{full}},
		{"the largest, unannounced", "/pub?topic=t", unsized(full), []string{full}},
		{"deferred by nothing", "/pub?topic=t&defer=0", "x", []string{"x"}},
		{"the first topic counts", "/pub?topic=t&topic=u", "x", []string{"x"}},

		{"lines", "/mpub?topic=t", "a\nb\nc", []string{"a", "b", "c"}},
		{"lines under their old name", "/mput?topic=t", "a\nb\n", []string{"a", "b"}},
		{"blank lines", "/mpub?topic=t", "\n\na\n\r\n\nb\n\n", []string{"a", "\r", "b"}},
		{"no lines", "/mpub?topic=t", "", nil},
		{"blank lines alone", "/mpub?topic=t", "\n\n\n", nil},
		{"lines up to the limit", "/mpub?topic=t", unsized(lines), slices.Repeat([]string{strings.Repeat("y", 4999)}, maxBodySize/5000)},
		{"the largest line", "/mpub?topic=t", full + "\na", []string{full, "a"}},
		{"not binary", "/mpub?topic=t&binary=false", "a\nb", []string{"a", "b"}},
		{"not binary either", "/mpub?topic=t&binary=0", "a\nb", []string{"a", "b"}},

		{"binary", "/mpub?topic=t&binary=true", batch("a", "b\n", full), []string{"a", "b\n", full}},
		{"binary, unannounced", "/mpub?topic=t&binary=1", unsized(batch("a", "b")), []string{"a", "b"}},
		{"binary after all", "/mpub?topic=t&binary=FALSE", batch("a"), []string{"a"}},
		{"binary by naming it", "/mpub?topic=t&binary=", batch("a"), []string{"a"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := start(t, nil)
			d.expect("POST", c.path, c.body, 200, "OK")
			if got := d.drain("t"); !slices.Equal(got, c.want) {
				t.Errorf("got %.80q, want %.80q", got, c.want)
			}
			d.expectTopics("t")
		})
	}
}

func TestRefused(t *testing.T) {
	over := strings.Repeat("x", maxMsgSize+1)
	overBody := strings.Repeat("x\n", maxBodySize/2) + "x"
	lost := func() io.Reader {
		return io.MultiReader(strings.NewReader("a\nb\n"), iotest.ErrReader(errors.New("lost")))
	}
	for _, c := range []struct {
		name, path string
		body       any
		status     int
		word       string
	}{
		// The order of the checks: each of these has all the faults that follow.
		{"too big", "/pub?topic=a;b", over, 413, "MSG_TOO_BIG"},
		{"too big, unannounced", "/pub?topic=a;b", unsized(over), 413, "MSG_TOO_BIG"},
		{"empty", "/pub?topic=a;b", "", 400, "MSG_EMPTY"},
		{"a bad query", "/pub?topic=a;b", "x", 400, "INVALID_REQUEST"},
		{"no topic", "/pub?defer=x", "x", 400, "MISSING_ARG_TOPIC"},
		{"not a topic", "/pub?topic=a/b&defer=x", "x", 400, "INVALID_TOPIC"},

		{"an empty topic", "/pub?topic=", "x", 400, "INVALID_TOPIC"},
		{"the same under the old name", "/put?topic=a/b", "x", 400, "INVALID_TOPIC"},
		{"defer in words", "/pub?topic=t&defer=x", "x", 400, "INVALID_DEFER"},
		{"defer empty", "/pub?topic=t&defer=", "x", 400, "INVALID_DEFER"},
		{"defer in the past", "/pub?topic=t&defer=-1", "x", 400, "INVALID_DEFER"},
		{"defer too long", "/pub?topic=t&defer=3600001", "x", 400, "INVALID_DEFER"},
		{"defer far too long", "/pub?topic=t&defer=9223372036854775807", "x", 400, "INVALID_DEFER"},
		{"a body that breaks off", "/pub?topic=t", lost(), 500, "INTERNAL_ERROR"},

		{"many: too big", "/mpub?topic=a;b", overBody, 413, "BODY_TOO_BIG"},
		{"many: a bad query", "/mpub?topic=a;b", unsized(overBody), 400, "INVALID_REQUEST"},
		{"many: no topic", "/mpub", unsized(overBody), 400, "MISSING_ARG_TOPIC"},
		{"many: not a topic", "/mpub?topic=a/b", unsized(overBody), 400, "INVALID_TOPIC"},
		{"many: too big, unannounced", "/mpub?topic=t", unsized(overBody), 413, "BODY_TOO_BIG"},
		{"many: one too big", "/mpub?topic=t", "a\n" + over + "\nb", 413, "MSG_TOO_BIG"},
		{"many: a body that breaks off", "/mpub?topic=t", lost(), 500, "INTERNAL_ERROR"},
		{"many: the old name", "/mput", "x", 400, "MISSING_ARG_TOPIC"},

		{"batch: empty", "/mpub?topic=t&binary=true", "", 413, "BAD_BODY"},
		{"batch: of none", "/mpub?topic=t&binary=true", batch(), 413, "BAD_BODY"},
		{"batch: text", "/mpub?topic=t&binary=true", "hello world", 413, "BAD_BODY"},
		{"batch: more counted than there", "/mpub?topic=t&binary=true", "\x00\x00\x00\x02" + batch("a")[4:], 413, "BAD_MESSAGE"},
		{"batch: fewer counted than there", "/mpub?topic=t&binary=true", "\x00\x00\x00\x01" + batch("a", "b")[4:], 413, "BAD_BODY"},
		{"batch: an empty message", "/mpub?topic=t&binary=true", batch("a", ""), 413, "BAD_MESSAGE"},
		{"batch: one too big", "/mpub?topic=t&binary=true", batch("a", over), 413, "BAD_MESSAGE"},
		{"batch: cut short", "/mpub?topic=t&binary=true", batch("a", "bcd")[:14], 413, "BAD_MESSAGE"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := start(t, nil)
			d.expect("POST", c.path, c.body, c.status, code(c.word))
			d.expectTopics() // a refused publish leaves none
		})
	}
}

func TestDeferred(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, nil)
		if err := d.topic("t").CreateChannel("c"); err != nil {
			t.Fatal(err)
		}
		d.expect("POST", "/pub?topic=t&defer=3600000", "later", 200, "OK")
		d.expect("POST", "/pub?topic=t", "now", 200, "OK")
		time.Sleep(time.Hour - time.Millisecond)
		if got := d.drain("t"); !slices.Equal(got, []string{"now"}) {
			t.Errorf("too early: %q", got)
		}
		time.Sleep(2 * time.Millisecond)
		if got := d.drain("t"); !slices.Equal(got, []string{"later"}) {
			t.Errorf("when due: %q", got)
		}
	})
}

func TestDeferredPublishesNeedMemory(t *testing.T) {
	d := start(t, func(s *broker.Settings, _ *api.Config) { s.MemoryBytes = -1 })
	d.expect("POST", "/pub?topic=new&defer=1", "x", 503, code("NO_MEMORY"))
	d.expectTopics()
	d.topic("t")
	d.expect("POST", "/pub?topic=t&defer=1", "x", 503, code("NO_MEMORY"))
}

func TestPublishToATopicBeingDeleted(t *testing.T) {
	d := start(t, nil)
	var publishers sync.WaitGroup
	for range 2 {
		publishers.Go(func() {
			for range 500 {
				d.expect("POST", "/pub?topic=t", "x", 200, "OK")
			}
		})
	}
	done := make(chan struct{})
	var deleter sync.WaitGroup
	deleter.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				d.send("POST", "/topic/delete?topic=t", nil)
			}
		}
	})
	publishers.Wait()
	close(done)
	deleter.Wait()
}

// liar is a body that breaks off, whatever was announced. It remembers how much
// room it was given beyond twice what it had sent.
type liar struct {
	left, sent, room int
}

func (l *liar) Read(p []byte) (int, error) {
	l.room = max(l.room, len(p)-2*l.sent)
	if l.left == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n := min(len(p), l.left)
	l.sent, l.left = l.sent+n, l.left-n
	return n, nil
}

func TestMemoryFollowsWhatHasArrived(t *testing.T) {
	d := start(t, func(_ *broker.Settings, c *api.Config) { c.MaxMsgSize, c.MaxBodySize = 1<<30, 1<<30 })
	for _, path := range []string{"/pub?topic=t", "/mpub?topic=t", "/mpub?topic=t&binary=true"} {
		l := &liar{left: 5 << 20} // more than any buffer that is kept
		r := httptest.NewRequest("POST", path, l)
		r.ContentLength = 1 << 30
		w := httptest.NewRecorder()
		d.handler.ServeHTTP(w, r)
		if w.Code != http.StatusInternalServerError || l.left > 0 {
			t.Errorf("%s: %d %s, with %d bytes unread", path, w.Code, w.Body, l.left)
		}
		if l.room > 2<<20 {
			t.Errorf("%s: %d bytes too many were made ready for a body that never came", path, l.room)
		}
	}
	d.expectTopics()
}

func TestNothingIsReadBeyondTheLimit(t *testing.T) {
	d := start(t, nil)
	d.expect("PUT", "/config/x", strings.Repeat("x", maxMsgSize), 400, code("INVALID_OPTION")) // leaves a larger buffer
	for path, limit := range map[string]int{"/pub?topic=t": maxMsgSize, "/mpub?topic=t": maxBodySize, "/mpub?topic=t&binary=1": maxBodySize} {
		l := &liar{left: 1 << 20}
		w := &discard{header: make(http.Header)} // without a connection, from which the rest would be read for the client's sake
		d.handler.ServeHTTP(w, httptest.NewRequest("POST", path, io.NopCloser(l)))
		if w.status != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %d", path, w.status)
		}
		if l.sent > limit+1 {
			t.Errorf("%s: %d bytes read, limit %d", path, l.sent, limit)
		}
	}
}

func BenchmarkPub(b *testing.B) {
	d := start(b, nil)
	body := strings.NewReader("")
	text := strings.Repeat("x", 200)
	r := httptest.NewRequest("POST", "/pub?topic=t", io.NopCloser(body))
	r.ContentLength = int64(len(text))
	w := &discard{header: make(http.Header)}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		body.Reset(text)
		clear(w.header)
		d.handler.ServeHTTP(w, r)
		if w.status != 0 {
			b.Fatalf("status %d", w.status)
		}
		if i%100_000 == 0 {
			d.send("POST", "/topic/empty?topic=t", nil)
		}
	}
}

// discard is a ResponseWriter that keeps nothing.
type discard struct {
	header http.Header
	status int
}

func (w *discard) Header() http.Header              { return w.header }
func (w *discard) Write(p []byte) (int, error)      { return len(p), nil }
func (w *discard) WriteHeader(status int)           { w.status = status }
func (w *discard) SetReadDeadline(time.Time) error  { return nil }
func (w *discard) SetWriteDeadline(time.Time) error { return nil }
