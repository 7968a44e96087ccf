package peers_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/queue"
)

// extendedLookupd is one in a network, at l:4160.
func extendedLookupd(b *bench) *lookupd {
	l := newLookupd("l:4161")
	l.extended = true
	b.net.host("l:4160", l.serve)
	return l
}

// hears checks what was told since it was last asked. Each want begins with a verb and
// a topic; the topic's number takes the place of %d.
func (b *bench) hears(l *lookupd, topic string, want ...string) {
	b.t.Helper()
	number := b.find(topic).Number()
	for i, w := range want {
		if slices.Contains([]byte(w), '%') {
			want[i] = fmt.Sprintf(w, number)
		}
	}
	b.expect(l, want...)
}

func TestGenerationsAndPauses(t *testing.T) {
	inBubble(t, []string{"l:4160"}, func(b *bench) {
		l := extendedLookupd(b)
		b.start()
		b.expect(l, hello, "SYNCED")

		b.create("t")
		b.hears(l, "t", "REGISTER t  %d")
		b.create("t", "c")
		b.hears(l, "t", "REGISTER t c %d")
		for _, c := range []struct {
			change func() error
			want   string
		}{
			{func() error { return b.find("t").Pause(queue.Pause{}) }, "REGISTER t  %d paused"},
			{func() error { return b.find("t").PauseChannel("c", queue.Pause{}) }, "REGISTER t c %d paused"},
			{b.find("t").Unpause, "REGISTER t  %d"},
			{func() error { return b.find("t").UnpauseChannel("c") }, "REGISTER t c %d"},
			{func() error { return b.find("t").DeleteChannel("c") }, "UNREGISTER t c %d"},
		} {
			expectNil(t, c.change())
			b.hears(l, "t", c.want)
		}
		b.create("t", "d")
		until := func(d time.Duration) queue.Pause { return queue.Pause{Reason: "r", Until: b.broker.Now() + int64(d)} }
		expectNil(t, b.find("t").PauseChannel("d", until(time.Second)))
		expectNil(t, b.find("t").Pause(until(2*time.Second)))
		b.hears(l, "t", "REGISTER t  %d paused", "REGISTER t d %d paused")
		time.Sleep(time.Second)
		b.hears(l, "t", "REGISTER t d %d")
		time.Sleep(time.Second)
		b.hears(l, "t", "REGISTER t  %d")
		synctest.Wait()
		l.told()
		first := b.find("t").Number()
		release := l.holdReplies()
		b.create("other")
		synctest.Wait()
		l.told()
		expectNil(t, b.broker.DeleteTopic("t"))
		b.create("t", "d")
		expectNil(t, b.find("t").Pause(queue.Pause{}))
		b.expect(l)
		release()
		b.hears(l, "t", fmt.Sprint("UNREGISTER t d ", first), fmt.Sprint("UNREGISTER t  ", first),
			"REGISTER t  %d paused", "REGISTER t d %d")
	})
}

func TestEverythingIsSaidAgain(t *testing.T) {
	inBubble(t, []string{"l:4160"}, func(b *bench) {
		l := extendedLookupd(b)
		b.create("t", "c")
		expectNil(t, b.find("t").Pause(queue.Pause{}))
		everything := []string{"REGISTER t  %d paused", "REGISTER t c %d", "SYNCED"}
		b.start()
		b.hears(l, "t", append([]string{hello}, everything...)...)
		for range 3 { // as often as it asks
			l.forget()
			time.Sleep(pingEvery)
			b.hears(l, "t", slices.Clone(everything)...)
			time.Sleep(pingEvery)
			b.expect(l)
		}
		l.hangUp()
		time.Sleep(time.Second)
		b.hears(l, "t", append([]string{hello}, everything...)...)
	})
}

// A lookupd that takes no more stays linked, and has all that it takes; what is wrong is told
// until it asks for the rest.
func TestALookupdThatIsFull(t *testing.T) {
	for _, plain := range []bool{true, false} {
		inBubble(t, []string{"l:4160"}, func(b *bench) {
			l := extendedLookupd(b)
			l.extended = !plain
			b.create("a", "x")
			b.create("b")
			b.create("c") // before the lookupd is there, whose channels nobody asks for in this test
			l.web = ":0"
			refused := "REGISTER b"
			if !plain {
				refused = fmt.Sprintf("REGISTER b  %d", b.find("b").Number())
			}
			l.full = map[string]bool{refused[len("REGISTER "):]: true}
			full := "E_TOO_MANY " + refused + ": full"
			b.start()
			synctest.Wait()
			if all := l.told(); len(all) < 4 || !slices.Contains(all, refused) {
				t.Errorf("it was told %q", all)
			}
			wrong := func(want string) {
				t.Helper()
				time.Sleep(pingEvery)
				synctest.Wait()
				if got := b.link("l:4160"); !got.Linked || got.LastError != want || got.Failures != 0 {
					t.Errorf("the link is %+v, want it to say %q", got, want)
				}
			}
			wrong(full)
			b.create("d")
			synctest.Wait()
			if all := l.told(); len(all) != 1 {
				t.Errorf("then it was told %q", all)
			}
			wrong(full)
			if n := b.log.count("takes no more"); n != 1 {
				t.Errorf("it is logged %d times", n)
			}
			if plain {
				return
			}
			l.forget()
			time.Sleep(pingEvery)
			wrong(full) // it was asked, and is full still
			l.mu.Lock()
			l.full = nil
			l.mu.Unlock()
			l.forget()
			time.Sleep(pingEvery)
			wrong("")
			if all := l.told(); !slices.Contains(all, refused) {
				t.Errorf("asked for all it said %q", all)
			}
			if n := len(b.net.dialled("l:4160")); n != 1 {
				t.Errorf("dialled %d times", n)
			}
		})
	}
}

const pingEvery = 15 * time.Second

func TestStateIsTold(t *testing.T) {
	inBubble(t, []string{"k:4160", "l:4160"}, func(b *bench) {
		k, l := newLookupd("k:4161"), extendedLookupd(b)
		b.net.host("k:4160", k.serve)
		b.peers.SetState(protocol.PeerFailing)
		b.start()
		b.expect(l, hello, "SYNCED")
		if got := l.info(); got.State != protocol.PeerFailing || !got.Extended {
			t.Errorf("it was told %+v", got)
		}
		b.peers.SetState(protocol.PeerReady)
		b.expect(l, "STATE ready")
		b.peers.SetState(protocol.PeerReady)
		b.expect(l)
		b.peers.SetState(protocol.PeerDraining)
		b.expect(l, "STATE draining")
		b.expect(k, hello) // plain V1 has no words for it
		l.hangUp()
		time.Sleep(time.Second)
		b.expect(l, hello, "SYNCED")
		if got := l.info().State; got != protocol.PeerDraining {
			t.Errorf("it was told of the state %q", got)
		}
	})
}

// One that says RESYNC to everything is told everything once a PING.
func TestResyncWithoutEnd(t *testing.T) {
	inBubble(t, []string{"l:4160"}, func(b *bench) {
		l := extendedLookupd(b)
		l.says = func(command string) string {
			if command == "IDENTIFY" {
				return `{"extended":true}`
			}
			return protocol.Resync
		}
		b.create("t")
		b.start()
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := len(l.told()); n > 2*(4*60+1)+1 {
			t.Errorf("it was told %d things in an hour", n)
		}
	})
}

// Many lookupds come and go while there is news: none is left behind, and those
// that stay know all.
func TestLookupdsComeAndGo(t *testing.T) {
	var all []string
	for i := range 50 {
		all = append(all, fmt.Sprintf("l%d:4160", i))
	}
	inBubble(t, nil, func(b *bench) {
		lookupds := make(map[string]*lookupd)
		for _, address := range all {
			l := newLookupd(address)
			l.extended = true
			lookupds[address] = l
			b.net.host(address, l.serve)
		}
		b.start()
		for i := range 200 {
			from := i % 25
			b.peers.SetAddresses(append(slices.Clone(all[from:from+25]), all[from])) // one of them twice
			b.create(fmt.Sprint("t", i), "c")
			time.Sleep(time.Duration(i%7) * time.Millisecond)
		}
		b.peers.SetAddresses(all)
		time.Sleep(time.Minute)
		for address, l := range lookupds {
			// A topic and its channel: "t 1" and "t c 1".
			if n := l.knows(); n != 2*200+200 {
				t.Errorf("%s knows %d names", address, n)
			}
			if got := b.link(address); !got.Linked || got.Topics != 200 {
				t.Errorf("it is told as %+v", got)
			}
		}
		b.peers.SetAddresses(nil)
		synctest.Wait()
		for address, l := range lookupds {
			if l.knows() != 0 {
				t.Errorf("%s was not left", address)
			}
		}
	})
}

// A list of any length takes one round trip, and the greeting another.
func TestRegistersInTwoRoundTrips(t *testing.T) {
	const topics = 3_000
	for _, extended := range []bool{false, true} {
		inBubble(t, nil, func(b *bench) {
			b.net.delay = 10 * time.Millisecond
			for i := range topics {
				b.create(fmt.Sprint("t", i), "c", "d")
			}
			l := newLookupd("l:4161")
			l.extended = extended
			b.net.host("l:4160", l.serve)
			b.start()
			b.peers.SetAddresses([]string{"l:4160"})
			began := time.Now()
			for b.log.count("registered with lookupd") == 0 && time.Since(began) < 10*time.Second {
				time.Sleep(time.Millisecond)
			}
			if took := time.Since(began); took > 50*time.Millisecond {
				t.Errorf("extended %v: registered after %s, with 20 ms for a round trip", extended, took)
			}
			if n := l.knows(); n != 3*topics && !extended {
				t.Errorf("lookupd knows %d topics and channels, want %d", n, 3*topics)
			}
			if n := len(l.told()); extended && n != 3*topics+2 {
				t.Errorf("lookupd was told %d things, want %d", n, 3*topics+2)
			}
		})
	}
}
