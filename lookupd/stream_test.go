package lookupd_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/lookupd"
)

// Clients that stop reading a listing hold up nobody, are cut off, and are a line
// in the log.
func TestListingsThatNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		b := &bubble{t: t, tcp: newPipe(), web: newPipe()}
		run(t, lookupd.New(lookupd.DefaultSettings(), b.tcp, b.web, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))))
		p := b.join("a")
		for i := range 3000 {
			p.say(fmt.Sprintf("REGISTER %s%d %s", strings.Repeat("t", 50), i, strings.Repeat("c", 50)))
		}
		log.Reset()
		var stopped []net.Conn
		var answers []*http.Response
		for range 5 {
			for _, path := range []string{"/topics", "/nodes", "/debug"} {
				conn := b.web.dial()
				_, _ = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path)
				answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil || answer.StatusCode != 200 {
					t.Fatal(path, answer, err)
				}
				stopped, answers = append(stopped, conn), append(answers, answer)
			}
		}
		synctest.Wait()
		p.say("REGISTER new") // the registry is free
		p.say("UNREGISTER new")
		time.Sleep(31 * time.Second)
		for i, conn := range stopped {
			if _, err := io.Copy(io.Discard, answers[i].Body); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("listing %d ends with %v", i, err)
			}
			conn.Close()
		}
		p.say("PING")
		synctest.Wait() // what is cut off last may be logged last
		if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "did not read its answer in time") {
			t.Errorf("the log has\n%s", got)
		}
	})
}

// A listing that is sent in many chunks is whole, however slowly it is read, while
// topics come and go.
func TestListingsWhileTopicsComeAndGo(t *testing.T) {
	inBubble(t, lookupd.DefaultSettings(), func(b *bubble) {
		a, other := b.join("a"), b.join("b")
		for i := range 3000 {
			a.say(fmt.Sprintf("REGISTER %s%04d", strings.Repeat("t", 50), i))
		}
		for _, path := range []string{"/topics", "/nodes"} {
			conn := b.web.dial()
			_, _ = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", path)
			answer, err := http.ReadResponse(bufio.NewReaderSize(conn, 16), nil)
			if err != nil {
				b.t.Fatal(err)
			}
			var body bytes.Buffer
			for n := 0; ; n++ {
				if _, err = io.CopyN(&body, answer.Body, 10_000); err != nil {
					break
				}
				other.say(fmt.Sprintf("REGISTER new%d", n))
				a.say(fmt.Sprintf("UNREGISTER %s%04d", strings.Repeat("t", 50), 2000+10*n))
				time.Sleep(5 * time.Second)
				a.say("PING")
				other.say("PING")
			}
			if !errors.Is(err, io.EOF) {
				b.t.Fatal(err)
			}
			checkListing(b.t, path, body.Bytes())
			conn.Close()
		}
	})
}

// checkListing checks that nothing is listed twice, that what was always there is
// listed, and that each topic has its tombstone or none.
func checkListing(t *testing.T, path string, body []byte) {
	t.Helper()
	var answer struct {
		Topics    []string
		Producers []struct {
			Topics     []string
			Tombstones []bool
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	topics := answer.Topics
	if path == "/nodes" {
		topics = answer.Producers[0].Topics
		if n := len(answer.Producers[0].Tombstones); n != len(topics) {
			t.Errorf("%d topics have %d tombstones", len(topics), n)
		}
	}
	if !slices.IsSorted(topics) || len(slices.Compact(slices.Clone(topics))) != len(topics) {
		t.Errorf("%s is not sorted, or has one twice", path)
	}
	n := 0
	for _, topic := range topics {
		if strings.HasPrefix(topic, "tt") && topic < strings.Repeat("t", 50)+"2000" {
			n++
		}
	}
	if n != 2000 {
		t.Errorf("%s has %d of the 2000 that were there all the time", path, n)
	}
}
