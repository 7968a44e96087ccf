package peers_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/qd/queue"
)

func channelNames(names *[]string) func(core *queue.Topic) {
	return func(core *queue.Topic) {
		for _, c := range core.Channels() {
			*names = append(*names, c.Name())
		}
	}
}

// face answers /channels.
func face(answer http.HandlerFunc) func(net.Conn) {
	return func(conn net.Conn) {
		in := bufio.NewReader(conn)
		for {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			w := &response{header: make(http.Header), status: http.StatusOK}
			answer(w, r)
			fmt.Fprintf(conn, "HTTP/1.1 %d x\r\nContent-Length: %d\r\n\r\n%s", w.status, len(w.body), w.body)
		}
	}
}

type response struct {
	header http.Header
	status int
	body   string
}

func (w *response) Header() http.Header    { return w.header }
func (w *response) WriteHeader(status int) { w.status = status }
func (w *response) Write(p []byte) (int, error) {
	w.body += string(p)
	return len(p), nil
}

func says(body string) func(net.Conn) {
	return face(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/channels" && r.URL.Query().Get("topic") == "t#ephemeral" {
			_, _ = io.WriteString(w, body)
		}
	})
}

func TestChannelsOfANewTopic(t *testing.T) {
	addresses := []string{"k:4160", "l:4160", "bad:4160", "wrong:4160", "mute:4160", "faceless:4160", "dead:4160"}
	inBubble(t, addresses, func(b *bench) {
		for _, name := range []string{"k", "l", "bad", "wrong", "mute", "faceless"} {
			b.net.host(name+":4160", newLookupd(name+":4161").serve)
		}
		b.net.host("k:4161", says(`{"channels":["c","b","x#ephemeral"]}`))
		b.net.host("l:4161", says(`{"channels":["a","c","not a name",""]}`))
		b.net.host("bad:4161", says(`{"channels":["z",`))
		b.net.host("wrong:4161", face(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, `{"channels":["z"]}`)
		}))
		b.net.host("mute:4161", func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
		b.start()
		synctest.Wait()

		began := time.Now()
		gone, cancel := context.WithCancel(b.t.Context())
		cancel() // the publisher that asked for the topic has gone away
		topic, err := b.broker.Topic(gone, "t#ephemeral")
		expectNil(t, err)
		if took := time.Since(began); took > time.Second {
			t.Errorf("took %s", took)
		}
		var got []string
		topic.View(channelNames(&got))
		if want := []string{"a", "b", "c"}; !slices.Equal(got, want) {
			t.Errorf("channels are %q, want %q", got, want)
		}
	})
}

func TestOnlyLinkedLookupdsAreAskedForChannels(t *testing.T) {
	inBubble(t, []string{"l:4160"}, func(b *bench) {
		l := newLookupd("l:4161")
		b.net.host("l:4160", l.serve)
		b.net.host("l:4161", func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
		b.start()
		synctest.Wait()
		b.net.host("l:4160", nil)
		l.hangUp()
		synctest.Wait()
		began := time.Now()
		if got, unheard := b.peers.Channels(b.t.Context(), "t"); len(got) != 0 || len(unheard) != 1 || time.Since(began) != 0 {
			t.Errorf("%q, unheard %q, after %s", got, unheard, time.Since(began))
		}
	})
}
