package millrace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// seekable is a broker of Millrace's that answers SEEK by answer, which returns an
// error's text or "" for OK; nil leaves SEEK unanswered.
func seekable(t *testing.T, n *pipeNet, address string, answer func(place string) string) *broker {
	b := newBroker(t)
	b.offers.extension = &protocol.ExtensionResponse{Seek: true}
	b.intercept = func(s *session, l protocol.Line, _ []byte) bool {
		if l.Verb != protocol.Seek {
			return false
		}
		b.put("t", "around "+string(l.Args[0])) // messages come between question and answer
		if answer == nil {
			return true
		}
		if text := answer(string(l.Args[0])); text != "" {
			s.send(protocol.FrameError, text)
		} else {
			s.ok()
		}
		return true
	}
	b.start(n.listen(address))
	t.Cleanup(b.stop)
	return b
}

func TestSeek(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		var places []string
		seekable(t, n, "q:1", func(place string) string {
			places = append(places, place)
			if place == "never" {
				return "E_SEEK_FAILED SEEK never failed no such place"
			}
			return ""
		})
		var rec recorder
		idle, err := NewReader(ReaderConfig{Topic: "t", Channel: "c", Addresses: []string{"q:1"}})
		noError(t, err)
		if err := idle.Seek(t.Context(), "earliest"); err == nil || !strings.Contains(err.Error(), "no daemon") {
			t.Errorf("without a connection: %v", err)
		}
		r := startReader(t, n, ReaderConfig{Addresses: []string{"q:1"}, Handler: &rec})
		synctest.Wait()
		noError(t, r.Seek(t.Context(), "earliest"))
		noError(t, r.Seek(t.Context(), "2026-01-02T03:04:05Z"))
		err = r.Seek(t.Context(), "never")
		if err == nil || !strings.Contains(err.Error(), "q:1") || !strings.Contains(err.Error(), "no such place") {
			t.Errorf("%v", err)
		}
		if e, ok := errors.AsType[*protocol.Error](err); !ok || e.Code != protocol.ESeekFailed {
			t.Errorf("%v", err)
		}
		for _, place := range []string{"", "a b", "x\nFIN y", "\r"} {
			if r.Seek(t.Context(), place) == nil {
				t.Errorf("%q is taken for a place", place)
			}
		}
		synctest.Wait()
		want(t, "asked for", places, []string{"earliest", "2026-01-02T03:04:05Z", "never"})
		want(t, "handled", rec.got(), []string{"around earliest", "around 2026-01-02T03:04:05Z", "around never"})
		want(t, "connections", n.dialled("q:1"), 1)
	})
}

// TestSeekWhereNotAllCan: those who can have moved, and the error names the others.
func TestSeekWhereNotAllCan(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		moved := 0
		seekable(t, n, "q:1", func(string) string { moved++; return "" })
		startBroker(t, n.listen("nsqd:1"))
		seekable(t, n, "q:2", func(string) string { return "E_INVALID there is no such thing" })
		r := startReader(t, n, ReaderConfig{Addresses: []string{"q:1", "nsqd:1", "q:2"}, Handler: &recorder{}})
		pass(time.Second)
		err := r.Seek(t.Context(), "latest")
		want(t, "moved", moved, 1)
		for _, words := range []string{"nsqd:1", "only Millrace's", "q:2", "no such thing"} {
			if err == nil || !strings.Contains(err.Error(), words) {
				t.Errorf("%v does not say %s", err, words)
			}
		}
		if strings.Contains(err.Error(), "q:1") && !strings.Contains(err.Error(), "nsqd:1") {
			t.Errorf("%v names one that has moved", err)
		}
	})
}

// TestSeekUnanswered: whoever waits is told when his context ends, or the connection.
func TestSeekUnanswered(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := seekable(t, n, "q:1", nil)
		r := startReader(t, n, ReaderConfig{Addresses: []string{"q:1"}, Handler: &recorder{}})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.Seek(ctx, "latest"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		time.AfterFunc(time.Second, func() { b.each(func(s *session) { _ = s.nc.Close() }) })
		if err := r.Seek(t.Context(), "latest"); err == nil || !strings.Contains(err.Error(), "not answered") {
			t.Errorf("%v", err)
		}
	})
}

// TestSeekOfAnEndingReader: after CLS nothing else may be said.
func TestSeekOfAnEndingReader(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := newBroker(t)
		b.offers.extension = &protocol.ExtensionResponse{Seek: true}
		b.start(n.listen("q:1"))
		t.Cleanup(b.stop)
		b.put("t", "x")
		r := startReader(t, n, ReaderConfig{Addresses: []string{"q:1"}, Handler: HandlerFunc(func(context.Context, *Message) error {
			time.Sleep(3 * time.Second)
			return nil
		})})
		pass(time.Second)
		r.cancel()
		pass(time.Second)
		err := r.Seek(t.Context(), "earliest")
		if err == nil || !strings.Contains(err.Error(), "the reader is ending") {
			t.Error(err)
		}
		r.stop()
		want(t, "finished", b.finishedBodies(), []string{"x"})
	})
}

func TestStart(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		asked := map[string]protocol.IdentifyRequest{}
		ours, nsqd := newBroker(t), newBroker(t)
		ours.offers.extension = &protocol.ExtensionResponse{Seek: true}
		for address, b := range map[string]*broker{"q:1": ours, "nsqd:1": nsqd} {
			b.start(n.listen(address))
			t.Cleanup(b.stop)
		}
		var said strings.Builder
		startReader(t, n, ReaderConfig{
			Addresses: []string{"q:1", "nsqd:1"}, Handler: &recorder{}, Start: StartEarliest, SampleRate: 30, MsgTimeout: 7 * time.Second,
			Connection: Connection{Log: slog.New(slog.NewTextHandler(&said, nil))},
		})
		pass(time.Second)
		for name, b := range map[string]*broker{"ours": ours, "nsqd": nsqd} {
			b.each(func(s *session) { asked[name] = s.identify })
			want(t, name+" is asked for the start", asked[name].Extension.ChannelStart, protocol.PlaceEarliest)
			want(t, name+" is asked for a sample", asked[name].SampleRate, int32(30))
			want(t, name+" is asked for a timeout", asked[name].MsgTimeout, 7000)
		}
		want(t, "said", strings.Count(said.String(), "setting Start"), 1)
		nsqd.each(func(s *session) { _ = s.nc.Close() })
		pass(time.Second)
		want(t, "said again", strings.Count(said.String(), "setting Start"), 2)
	})
}

// StartAt is asked before each connection, and is told when its last place was refused.
func TestStartAt(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := newBroker(t)
		b.offers.extension = &protocol.ExtensionResponse{Seek: true}
		var asked []string
		b.intercept = func(s *session, l protocol.Line, _ []byte) bool {
			if l.Verb != protocol.Sub {
				return false
			}
			asked = append(asked, s.identify.Extension.ChannelStart)
			if s.identify.Extension.ChannelStart == "gone" {
				s.send(protocol.FrameError, "E_SUB_FAILED SUB failed no such message")
				s.mu.Lock()
				s.ended = true
				s.mu.Unlock()
				return true
			}
			return false
		}
		b.start(n.listen("q:1"))
		t.Cleanup(b.stop)
		var told []string
		places := []string{"gone", "2026-11-20T08:00:00Z", ""}
		startReader(t, n, ReaderConfig{
			Addresses: []string{"q:1"}, Handler: &recorder{}, Start: StartEarliest,
			StartAt: func(address string, refused error) string {
				told = append(told, fmt.Sprint(address, " ", refused != nil))
				return places[len(told)-1]
			},
		})
		pass(5 * time.Second)
		b.each(func(s *session) { _ = s.nc.Close() })
		pass(5 * time.Second)
		want(t, "told", told, []string{"q:1 false", "q:1 true", "q:1 false"})
		want(t, "asked", asked, []string{"gone", "2026-11-20T08:00:00Z", protocol.PlaceEarliest})
	})
}

func TestOutputBufferTimeoutAskedFor(t *testing.T) {
	for given, asked := range map[time.Duration]int{0: 25, -1: 0, time.Second: 1000} {
		config := ReaderConfig{Topic: "t", Channel: "c", Addresses: []string{"q:1"}, OutputBufferTimeout: given}
		noError(t, config.complete())
		want(t, fmt.Sprint("for ", given), config.dialer().identify.OutputBufferTimeout, asked)
	}
}

func TestReaderConfigIsChecked(t *testing.T) {
	_, err := NewReader(ReaderConfig{
		Topic: "t", Channel: "c", Addresses: []string{"q:1"}, Handler: &recorder{}, BatchHandler: &batches{},
		SampleRate: 100, Start: 2, OutputBufferTimeout: 1, BatchSize: -1, BatchWait: -1, Backoff: -1, MaxBackoff: -1, MsgTimeout: 1,
	})
	for _, s := range []string{"BatchHandler", "SampleRate", "Start", "BatchSize", "BatchWait", "Backoff", "MaxBackoff", "MsgTimeout", "OutputBufferTimeout"} {
		if err == nil || !strings.Contains(err.Error(), s) {
			t.Errorf("%v does not tell of %s", err, s)
		}
	}
}
