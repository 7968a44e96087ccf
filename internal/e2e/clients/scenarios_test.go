package clients

import (
	"slices"
	"strings"
	"sync"
	"time"
)

func oneMessage(s scene) {
	body := make([]byte, 256)
	for i := range body {
		body[i] = byte(i)
	}
	w := s.newWriter()
	readers := map[string]reader{}
	for _, form := range forms {
		readers[form] = s.newReader(readerSettings{Channel: form, Form: form})
	}
	// A channel that is there has all; one that comes later may find nothing.
	began := s.publishUntil(w, body, readers)
	must(s.T, w.close())
	for form, r := range readers {
		d := next(s.T, r)
		if !slices.Equal(d.Body, body) || d.Attempts != 1 || d.Address != s.tcp || len(d.ID) != 16 {
			s.Errorf("%s: got %q, attempts %d, ID %q, from %s", form, d.Body, d.Attempts, d.ID, d.Address)
		}
		if at := time.Unix(0, d.Stamp); at.Before(began.Add(-time.Hour)) || at.After(time.Now().Add(time.Hour)) {
			s.Errorf("%s: it was published at %v", form, at)
		}
		must(s.T, r.close())
	}
}

func many(s scene) {
	w := s.newWriter()
	bodies := numbered("many", 1000)
	s.publish(w, bodies...)
	must(s.T, w.close())
	r := s.newReader(readerSettings{Form: batches})
	s.expect(r, bodies)
	must(s.T, r.close())
}

func asynchronously(s scene) {
	w := s.newWriter()
	bodies := numbered("async", 2000)
	var mu sync.Mutex
	told := 0
	w.publishAsync(s.of, bodies, func(i int, err error) {
		mu.Lock()
		defer mu.Unlock()
		if told++; err != nil {
			s.Errorf("message %d: %v", i, err)
		}
	})
	must(s.T, w.flush(enough))
	mu.Lock()
	if told != len(bodies) {
		s.Errorf("%d outcomes of %d were told when Flush returned", told, len(bodies))
	}
	mu.Unlock()
	must(s.T, w.close())
	r := s.newReader(readerSettings{Form: iterates})
	s.expect(r, bodies)
	must(s.T, r.close())
}

func asynchronousBatches(s scene) {
	w := s.newWriter()
	bodies := numbered("batch", 1000)
	outcomes := make(chan error, 10)
	for chunk := range slices.Chunk(bodies, 100) {
		w.publishManyAsync(s.of, chunk, func(err error) { outcomes <- err })
	}
	must(s.T, w.close()) // waits for the answers
	for range cap(outcomes) {
		must(s.T, <-outcomes)
	}
	r := s.newReader(readerSettings{Concurrency: 4})
	s.expect(r, bodies)
	must(s.T, r.close())
}

func deferredMessage(s scene) {
	const delay = 700 * time.Millisecond
	w := s.newWriter()
	r := s.newReader(readerSettings{})
	began := time.Now()
	must(s.T, w.publishDeferred(enough, s.of, delay, []byte("later")))
	d := next(s.T, r)
	if after := time.Unix(0, d.Taken).Sub(began); string(d.Body) != "later" || after < delay-5*time.Millisecond {
		s.Errorf("%q came after %v, before its time", d.Body, after)
	}
	must(s.T, w.close())
	must(s.T, r.close())
}

func failing(s scene) {
	w := s.newWriter()
	bodies := numbered("fails", 100)
	s.publish(w, bodies...)
	settings := readerSettings{FailEvery: 3}
	for _, form := range forms {
		settings.Form = form
		r := s.newReader(settings)
		done := map[string]bool{}
		for len(done) < len(bodies) {
			d := next(s.T, r)
			if !d.Failed && done[string(d.Body)] {
				s.Errorf("%s: %q came again after it was finished", form, d.Body)
			}
			if settings.fails(d.Body, 1) && !d.Failed && d.Attempts < 2 {
				s.Errorf("%s: %q came with attempts %d after it had failed", form, d.Body, d.Attempts)
			}
			if !d.Failed {
				done[string(d.Body)] = true
			}
		}
		must(s.T, r.close())
		s.publish(w, bodies...) // for the next form
	}
	must(s.T, w.close())
}

func requeued(s scene) {
	const delay = 600 * time.Millisecond
	w := s.newWriter()
	s.publish(w, []byte("again"))
	must(s.T, w.close())
	r := s.newReader(readerSettings{Answer: later})
	first := next(s.T, r)
	began := time.Now()
	first.requeue(delay)
	d := next(s.T, r)
	if after := time.Unix(0, d.Taken).Sub(began); d.ID != first.ID || d.Attempts != 2 || after < delay-5*time.Millisecond {
		s.Errorf("%s came after %v with attempts %d, requeued was %s", d.ID, after, d.Attempts, first.ID)
	}
	d.finish()
	must(s.T, r.close())
}

// touched touches a message for longer than its timeout. If the machine is so busy
// that a touch comes late, nothing is said by the message's coming again.
func touched(s scene) {
	const timeout = 2 * time.Second
	w := s.newWriter()
	s.publish(w, []byte("slow"))
	must(s.T, w.close())
	r := s.newReader(readerSettings{Answer: later, MsgTimeout: timeout.Seconds()})
	d := next(s.T, r)
	last, latest := time.Now(), time.Duration(0)
	for end := last.Add(2 * timeout); time.Now().Before(end); {
		select {
		case again := <-r.deliveries():
			if latest = max(latest, time.Since(last)); latest < timeout/2 {
				s.Fatalf("it came again, attempts %d, and was touched every %v", again.Attempts, latest)
			}
			s.Skipf("skipped: the machine was too busy to touch a message every %v", timeout)
		case <-time.After(timeout / 8):
		}
		d.touch()
		latest, last = max(latest, time.Since(last)), time.Now()
	}
	d.finish()
	must(s.T, r.close())
}

func timedOut(s scene) {
	w := s.newWriter()
	s.publish(w, []byte("forgotten"))
	must(s.T, w.close())
	r := s.newReader(readerSettings{Answer: later, MsgTimeout: 1})
	first := next(s.T, r)
	d := next(s.T, r)
	if d.ID != first.ID || d.Attempts != 2 {
		s.Errorf("%s came with attempts %d, forgotten was %s", d.ID, d.Attempts, first.ID)
	}
	if after := time.Duration(d.Taken - first.Taken); after < 900*time.Millisecond {
		s.Errorf("it came again after %v, and had 1s", after)
	}
	d.finish()
	first.finish() // too late, which does no harm
	must(s.T, r.close())
}

func twoChannels(s scene) {
	readers := map[string]reader{"a": s.newReader(readerSettings{Channel: "a"}), "b": s.newReader(readerSettings{Channel: "b", Form: batches})}
	w := s.newWriter()
	bodies := numbered("both", 300)
	s.publishUntil(w, []byte("first"), readers)
	s.publish(w, bodies...)
	for _, r := range readers {
		if d := next(s.T, r); string(d.Body) != "first" {
			s.Errorf("%q came first", d.Body)
		}
		s.expect(r, bodies)
		must(s.T, r.close())
	}
	must(s.T, w.close())
}

func inFlight(s scene) {
	const most = 5
	w := s.newWriter()
	s.publish(w, numbered("held", 4*most)...)
	must(s.T, w.close())
	r := s.newReader(readerSettings{Answer: later, MaxInFlight: most, Form: batches})
	held := collect(s.T, r, most)
	for range 3 * most {
		select {
		case d := <-r.deliveries():
			s.Fatalf("%q came while %d were unanswered", d.Body, len(held))
		case <-time.After(20 * time.Millisecond):
		}
		held[0].finish()
		held = append(held[1:], next(s.T, r))
	}
	for _, d := range held {
		d.finish()
	}
	must(s.T, r.close())
}

func handingBack(s scene) {
	w := s.newWriter()
	bodies := numbered("handed", 10)
	s.publish(w, bodies...)
	must(s.T, w.close())
	first := s.newReader(readerSettings{Answer: waiting, MaxInFlight: len(bodies)})
	begun := next(s.T, first)
	ended := make(chan error, 1)
	go func() { ended <- first.close() }()
	second := s.newReader(readerSettings{})
	got := map[string]bool{}
	for _, d := range collect(s.T, second, len(bodies)-1) {
		got[string(d.Body)] = true
	}
	select {
	case err := <-ended:
		s.Fatalf("it was closed, with %v, while a handler ran", err)
	default:
	}
	begun.finish()
	must(s.T, <-ended)
	must(s.T, second.close())
	if got[string(begun.Body)] || len(got) != len(bodies)-1 {
		s.Errorf("%d others came, and the one that was begun: %v", len(got), got[string(begun.Body)])
	}
	select {
	case d := <-first.deliveries():
		s.Errorf("%q was begun after Close", d.Body)
	default:
	}
}

func refusing(s scene) {
	w := s.newWriter()
	large := []byte(strings.Repeat("x", 2<<20)) // twice what daemons take
	for what, err := range map[string]error{
		"a name out of rule": w.publish(enough, "no such name!", []byte("x")),
		"an empty message":   w.publish(enough, s.of, []byte{}),
		"a large message":    w.publish(enough, s.of, large),
		"a large neighbour":  w.publish(enough, s.of, []byte("small"), large),
	} {
		if got := outcomeOf(err); got != refused {
			s.Errorf("%s: %v, %v", what, got, err)
		}
	}
	s.publish(w, []byte("fine"))
	must(s.T, w.close())
	r := s.newReader(readerSettings{})
	s.expect(r, [][]byte{[]byte("fine")})
	must(s.T, r.close())
}

func nobodyThere(s scene) {
	w := s.writer(s.T, writerSettings{Addresses: []string{address(s.T)}})
	for what, err := range map[string]error{
		"one":      w.publish(300*time.Millisecond, s.of, []byte("x")),
		"two":      w.publish(300*time.Millisecond, s.of, []byte("x"), []byte("y")),
		"deferred": w.publishDeferred(300*time.Millisecond, s.of, time.Second, []byte("x")),
	} {
		if got := outcomeOf(err); got != unavailable {
			s.Errorf("%s: %v, %v", what, got, err)
		}
	}
	must(s.T, w.close())
}
