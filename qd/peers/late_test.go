package peers_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/qd/broker"
	"github.com/millrace-mq/millrace/qd/disk/disktest"
	"github.com/millrace-mq/millrace/qd/peers"
)

// library answers /channels after a while, with what it is told to.
type library struct {
	delay  atomic.Int64 // ns
	answer atomic.Value // string
	asked  atomic.Int64
}

func newLibrary(delay time.Duration, channels string) *library {
	l := new(library)
	l.set(delay, channels)
	return l
}

func (l *library) set(delay time.Duration, channels string) {
	l.delay.Store(int64(delay))
	l.answer.Store(`{"channels":[` + channels + `]}`)
}

func (l *library) serve(conn net.Conn) {
	face(func(w http.ResponseWriter, _ *http.Request) {
		l.asked.Add(1)
		time.Sleep(time.Duration(l.delay.Load()))
		_, _ = io.WriteString(w, l.answer.Load().(string))
	})(conn)
}

// withLibrary makes l:4160 a lookupd whose HTTP face is lib.
func (b *bench) withLibrary(lib *library) *lookupd {
	l := newLookupd("l:4161")
	b.net.host("l:4160", l.serve)
	b.net.host("l:4161", lib.serve)
	return l
}

// createIn creates a topic and returns how long it took.
func (b *bench) createIn(topic string) time.Duration {
	b.t.Helper()
	began := time.Now()
	b.create(topic)
	return time.Since(began)
}

func (b *bench) expectChannels(topic string, want ...string) {
	b.t.Helper()
	synctest.Wait()
	var got []string
	b.find(topic).View(channelNames(&got))
	slices.Sort(got)
	if !slices.Equal(got, want) {
		b.t.Errorf("channels of %s are %q, want %q", topic, got, want)
	}
}

func (b *bench) link(address string) peers.Link {
	b.t.Helper()
	all := b.peers.Links()
	i := slices.IndexFunc(all, func(l peers.Link) bool { return l.Address == address })
	if i < 0 {
		b.t.Fatalf("no link to %s among %v", address, all)
	}
	return all[i]
}

func TestASlowLookupdIsWaitedForOnce(t *testing.T) {
	inBubble(t, []string{"l:4160"}, func(b *bench) {
		lib := newLibrary(time.Second, `"a","b"`)
		b.withLibrary(lib)
		b.start()
		synctest.Wait()
		if took := b.createIn("first"); took != 200*time.Millisecond {
			t.Errorf("the first topic waits for %s", took)
		}
		b.expectChannels("first")
		for i := range 100 {
			if took := b.createIn(fmt.Sprint("t", i)); took != 0 {
				t.Errorf("topic %d waits for %s", i, took)
			}
		}
		time.Sleep(time.Minute) // four at a time, a second for each
		b.expectChannels("first", "a", "b")
		b.expectChannels("t99", "a", "b")
		if n := len(b.broker.Learning()); n != 0 {
			t.Errorf("%d topics are still to be learned about", n)
		}
		if n := b.log.count("does not say in time"); n != 1 {
			t.Errorf("it is complained of %d times", n)
		}

		lib.set(0, `"a"`)
		b.create("fast") // it is not known yet that it answers in time
		b.expectChannels("fast", "a")
		lib.set(100*time.Millisecond, `"a"`)
		if took := b.createIn("waits"); took != 100*time.Millisecond {
			t.Errorf("a topic waits for %s", took)
		}
		b.expectChannels("waits", "a")
	})
}

func TestChannelsAreLearnedWhenALookupdComesBack(t *testing.T) {
	inBubble(t, []string{"k:4160", "l:4160"}, func(b *bench) {
		lib := newLibrary(0, `"a","b","c","d#ephemeral","no name"`)
		k, l := newLookupd("k:4161"), b.withLibrary(lib)
		b.net.host("k:4160", k.serve)
		b.net.host("k:4161", newLibrary(0, "").serve)
		b.net.host("l:4160", nil)
		b.start()
		synctest.Wait()

		b.create("t", "b")
		b.create("gone")
		b.create("again")
		expectNil(t, b.find("t").CreateChannel("a"))
		expectNil(t, b.find("t").DeleteChannel("a"))
		if err := b.find("t").DeleteChannel("c"); err != broker.ErrNoChannel {
			t.Error(err)
		}
		b.expectChannels("t", "b")
		expectNil(t, b.broker.DeleteTopic("gone"))
		expectNil(t, b.broker.DeleteTopic("again"))
		synctest.Wait()
		if n := b.link("l:4160").Awaited; n != 1 {
			t.Errorf("%d topics are awaited, want 1", n)
		}
		// Much later, another topic of the name and the first one's answer.
		time.Sleep(time.Hour)
		b.create("again")
		expectNil(t, b.find("again").CreateChannel("z"))
		b.net.host("l:4160", l.serve)
		time.Sleep(16 * time.Second)
		b.expectChannels("t", "b") // a and c were deleted here
		b.expectChannels("again", "a", "b", "c", "z")
		time.Sleep(20 * time.Second) // now it knows everything
		if _, err := b.broker.Find("gone"); err != broker.ErrNoTopic {
			t.Error("a topic has come back")
		}
		if n := b.link("l:4160").Awaited + len(b.broker.Learning()); n != 0 {
			t.Errorf("%d topics are still awaited", n)
		}
		if n := b.log.count(`has said which channels new topics have" lookupd=l:4160 topics=2 channels=3`); n != 1 {
			t.Errorf("it is told of %d times, want once", n)
		}
		expectNil(t, b.find("again").DeleteChannel("a"))
		time.Sleep(time.Hour)
		b.expectChannels("again", "b", "c", "z")
	})
}

func TestARemovedLookupdIsAwaitedNoMore(t *testing.T) {
	inBubble(t, []string{"k:4160", "l:4160"}, func(b *bench) {
		b.start()
		b.create("t")
		synctest.Wait()
		b.peers.SetAddresses([]string{"l:4160"})
		synctest.Wait()
		if n := len(b.broker.Learning()); n != 1 {
			t.Errorf("%d topics are to be learned about, want 1", n)
		}
		b.peers.SetAddresses(nil)
		synctest.Wait()
		if n := len(b.broker.Learning()); n != 0 {
			t.Errorf("%d topics are still to be learned about", n)
		}
	})
}

// A lookupd whose HTTP face is dead while it can be registered with is asked again
// now and then, not in a circle.
func TestAFaceThatIsDead(t *testing.T) {
	inBubble(t, []string{"l:4160"}, func(b *bench) {
		lib := newLibrary(0, `"a"`)
		b.withLibrary(lib)
		b.net.host("l:4161", nil)
		b.start()
		b.create("t")
		time.Sleep(10 * time.Minute)
		if n := len(b.net.dialled("l:4161")); n < 40 || n > 200 {
			t.Errorf("it was dialled %d times in ten minutes", n)
		}
		if got := b.link("l:4160"); !got.Linked || !got.Tardy || got.LastError == "" {
			t.Errorf("it is told as %+v", got)
		}
		b.net.host("l:4161", lib.serve)
		time.Sleep(15 * time.Second)
		b.expectChannels("t", "a")
		if got := b.link("l:4160"); got.Tardy || got.LastError != "" {
			t.Errorf("it is told as %+v", got)
		}
	})
}

// Very many topics that are created at once wait for lookupds that hang together, not
// one after the other; and ten lookupds cost no more time than one.
func TestManyTopicsWaitTogether(t *testing.T) {
	const topics = 50
	var addresses []string
	for i := range 10 {
		addresses = append(addresses, fmt.Sprintf("l%d:4160", i))
	}
	inBubble(t, addresses, func(b *bench) {
		for i, address := range addresses {
			web := fmt.Sprintf("l%d:4161", i)
			b.net.host(address, newLookupd(web).serve)
			if b.net.host(web, newLibrary(0, `"a"`).serve); i%2 == 0 {
				b.net.host(web, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
			}
		}
		b.start()
		time.Sleep(time.Minute)
		began := time.Now()
		var wg sync.WaitGroup
		for i := range topics {
			wg.Go(func() { b.create(fmt.Sprint("t", i)) })
		}
		wg.Wait()
		if took := time.Since(began); took != 200*time.Millisecond {
			t.Errorf("%d topics take %s", topics, took)
		}
		b.expectChannels("t0", "a")
		b.expectChannels(fmt.Sprint("t", topics-1), "a")
		if took := b.createIn("next"); took != 0 {
			t.Errorf("the next one waits for %s", took)
		}
	})
}

// While one lookupd is away, the others are not asked twice about each new topic.
func TestLookupdsAreAskedOnce(t *testing.T) {
	inBubble(t, []string{"k:4160", "l:4160"}, func(b *bench) {
		lib := newLibrary(0, `"a"`)
		b.withLibrary(lib)
		b.start()
		time.Sleep(30 * time.Second)
		for i := range 10 {
			b.create(fmt.Sprint("t", i))
		}
		time.Sleep(time.Minute)
		if n := lib.asked.Load(); n != 10 {
			t.Errorf("it was asked %d times about 10 topics", n)
		}
		b.expectChannels("t9", "a")
		if got := b.link("k:4160").Awaited; got != 10 {
			t.Errorf("%d topics await the one that is away, want 10", got)
		}
		if got := b.link("l:4160").Awaited; got != 0 {
			t.Errorf("%d topics await the one that has answered", got)
		}
	})
}

// An answer that is too long would be so again: it is an answer.
func TestAnAnswerThatIsTooLong(t *testing.T) {
	inBubble(t, []string{"l:4160"}, func(b *bench) {
		lib := newLibrary(0, `"a","`+strings.Repeat("b", 1<<20)+`"`)
		b.withLibrary(lib)
		b.create("early") // asked about later
		b.start()
		synctest.Wait()
		b.create("t")
		time.Sleep(time.Minute)
		b.expectChannels("early")
		b.expectChannels("t")
		// About each topic twice: the lookupd may not have known everything at first.
		if n := b.log.count("too many channels"); n != 4 || lib.asked.Load() != 4 {
			t.Errorf("for two topics, it was asked %d times and complained of %d times", lib.asked.Load(), n)
		}
		if got := b.link("l:4160"); got.Tardy || got.Awaited != 0 {
			t.Errorf("it is told as %+v", got)
		}
	})
}

// A lookupd that was started just now does not know yet what other daemons have, which
// come back to it later: it is asked again.
func TestALookupdThatKnowsNothingYet(t *testing.T) {
	inBubble(t, []string{"l:4160"}, func(b *bench) {
		lib := newLibrary(0, "")
		b.withLibrary(lib)
		b.create("before")
		b.start()
		synctest.Wait()
		b.create("after")
		time.Sleep(17 * time.Second)
		lib.set(0, `"a"`) // the last of the others is back
		time.Sleep(4 * time.Second)
		b.expectChannels("before", "a")
		b.expectChannels("after", "a")
		lib.set(0, `"a","b"`)
		time.Sleep(time.Hour)
		b.expectChannels("before", "a")
		if n := len(b.broker.Learning()); n != 0 {
			t.Errorf("%d topics are still to be learned about", n)
		}
	})
}

// A channel that the disk does not take is created when it does, and the lookupd is
// not blamed.
func TestLearningOnABadDisk(t *testing.T) {
	disk := disktest.New()
	inBubbleWith(t, []string{"l:4160"}, func(_ *bench, _ *peers.Config, s *broker.Settings) {
		s.FS, s.Durability = disk, broker.Disk
		expectNil(t, disk.MkdirAll(s.DataPath))
	}, func(b *bench) {
		b.create("t")
		disk.FailAlways(0)
		lib := newLibrary(0, `"a"`)
		b.withLibrary(lib)
		b.start()
		time.Sleep(time.Minute)
		if got := b.link("l:4160"); got.Tardy || got.LastError != "" || got.Awaited != 1 {
			t.Errorf("it is told as %+v", got)
		}
		if n := lib.asked.Load(); n < 2 || n > 20 {
			t.Errorf("it was asked %d times in a minute", n)
		}
		if n := b.log.count("cannot create channels"); n != 1 {
			t.Errorf("it is complained of %d times, want once", n)
		}
		disk.Heal()
		time.Sleep(30 * time.Second)
		b.expectChannels("t", "a")
		if got := b.link("l:4160").Awaited; got != 0 {
			t.Errorf("%d topics are still awaited", got)
		}
	})
}
