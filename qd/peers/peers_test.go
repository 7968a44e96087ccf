package peers_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace-mq/millrace/qd/queue"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const hello = "IDENTIFY qd:4150"

func TestAllIsRegistered(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		b.start()
		b.create("bare")
		b.create("t", "d", "c", "e#ephemeral")
		b.create("x#ephemeral")
		l := newLookupd("l:4161")
		b.net.host("l:4160", l.serve)
		b.peers.SetAddresses([]string{"l:4160"})
		b.expect(l, hello, "REGISTER bare", "REGISTER t c", "REGISTER t d", "REGISTER t e#ephemeral", "REGISTER x#ephemeral")
	})
}

func TestChangesAreToldAtOnce(t *testing.T) {
	inBubble(t, []string{"l:4160"}, func(b *bench) {
		l := newLookupd("l:4161")
		b.net.host("l:4160", l.serve)
		b.start()
		b.expect(l, hello)

		b.create("t")
		b.expect(l, "REGISTER t")
		b.create("t", "c")
		b.expect(l, "REGISTER t c")
		b.create("t", "b")
		b.expect(l, "REGISTER t b")
		b.create("t", "c") // there is one
		b.expect(l)
		expectNil(t, b.find("t").DeleteChannel("c"))
		b.expect(l, "UNREGISTER t c")
		expectNil(t, b.broker.DeleteTopic("t"))
		b.expect(l, "UNREGISTER t b", "UNREGISTER t")
		if n := l.knows(); n != 0 {
			t.Errorf("lookupd knows %d topics and channels", n)
		}
	})
}

func TestMessagesAreNoNews(t *testing.T) {
	inBubble(t, []string{"k:4160", "l:4160"}, func(b *bench) {
		k, l := newLookupd("k:4161"), newLookupd("l:4161")
		k.extended = true
		b.net.host("k:4160", k.serve)
		b.net.host("l:4160", l.serve)
		b.start()
		b.create("t", "c")
		synctest.Wait()
		k.told()
		l.told()
		expectNil(t, b.find("t").Publish([][]byte{[]byte("x")}))
		expectNil(t, b.find("t").EmptyChannel("c"))
		b.expect(k)
		b.expect(l)
		// Nor is a pause, to one that speaks plain V1.
		expectNil(t, b.find("t").Pause(queue.Pause{}))
		expectNil(t, b.find("t").PauseChannel("c", queue.Pause{}))
		b.expect(l)
	})
}

// A topic that is deleted and made again while its lookupd is not looking is
// another topic.
func TestATopicMadeAgain(t *testing.T) {
	inBubble(t, []string{"l:4160"}, func(b *bench) {
		l := newLookupd("l:4161")
		b.net.host("l:4160", l.serve)
		b.start()
		b.create("t", "c")
		synctest.Wait()
		release := l.holdReplies()
		b.create("other")
		synctest.Wait()
		l.told()

		expectNil(t, b.broker.DeleteTopic("t"))
		b.create("t", "c")
		b.create("gone")
		expectNil(t, b.broker.DeleteTopic("gone"))
		b.expect(l)
		release()
		b.expect(l, "UNREGISTER t c", "UNREGISTER t", "REGISTER t c")
	})
}

func TestPingEvery15Seconds(t *testing.T) {
	inBubble(t, []string{"l:4160"}, func(b *bench) {
		l := newLookupd("l:4161")
		b.net.host("l:4160", l.serve)
		b.start()
		synctest.Wait()
		began := time.Now()
		for i := range 120 { // changes all the time are no reason not to
			time.Sleep(time.Second)
			b.create(fmt.Sprint("t", i))
			synctest.Wait()
		}
		pings := l.pingTimes()
		if len(pings) != 8 {
			t.Fatalf("%d PINGs in two minutes", len(pings))
		}
		for i, at := range pings {
			if want := began.Add(time.Duration(i+1) * 15 * time.Second); at.Sub(want).Abs() > time.Second {
				t.Errorf("PING %d came after %s", i, at.Sub(began))
			}
		}
	})
}

func TestALookupdThatRestarts(t *testing.T) {
	inBubble(t, []string{"l:4160"}, func(b *bench) {
		l := newLookupd("l:4161")
		b.net.host("l:4160", l.serve)
		b.create("t", "c") // before anybody looks
		b.start()
		b.expect(l, hello, "REGISTER t c")

		b.net.host("l:4160", nil)
		l.hangUp()
		time.Sleep(20 * time.Second)
		expectNil(t, b.broker.DeleteTopic("t"))
		b.create("u")
		b.expect(l)
		b.net.host("l:4160", l.serve)
		time.Sleep(16 * time.Second)
		b.expect(l, hello, "REGISTER u") // of t it never heard

		l.hangUp()
		time.Sleep(100 * time.Millisecond)
		b.expect(l, hello, "REGISTER u") // noticed at once, and tried soon
	})
}

func TestPausesGrowAndDiffer(t *testing.T) {
	inBubble(t, []string{"l:4160"}, func(b *bench) {
		b.start()
		time.Sleep(10 * time.Minute)
		dials := b.net.dialled("l:4160")
		var pauses []time.Duration
		for i := range dials[1:] {
			pauses = append(pauses, dials[i+1].Sub(dials[i]))
		}
		if pauses[0] > 100*time.Millisecond {
			t.Errorf("the first pause is %s", pauses[0])
		}
		late := pauses[10:]
		if slices.Max(late) > 15*time.Second || slices.Min(late) < 15*time.Second/2 {
			t.Errorf("later pauses are %s to %s", slices.Min(late), slices.Max(late))
		}
		if slices.Max(late) == slices.Min(late) {
			t.Error("all pauses are equal")
		}
	})
}

func TestADeadLookupdDelaysNoOther(t *testing.T) {
	inBubble(t, []string{"dead:4160", "mute:4160", "l:4160"}, func(b *bench) {
		l := newLookupd("l:4161")
		b.net.host("l:4160", l.serve)
		b.net.host("mute:4160", func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
		b.start()
		b.expect(l, hello)
		for i := range 100 {
			b.create(fmt.Sprint("t", i))
			b.expect(l, fmt.Sprint("REGISTER t", i))
		}
	})
}

func TestALookupdThatStopsReplying(t *testing.T) {
	inBubble(t, []string{"l:4160"}, func(b *bench) {
		l := newLookupd("l:4161")
		b.net.host("l:4160", l.serve)
		b.start()
		b.expect(l, hello)
		release := l.holdReplies()
		b.create("t")
		time.Sleep(4900 * time.Millisecond)
		if n := len(b.net.dialled("l:4160")); n != 1 {
			t.Errorf("given up before the timeout: %d dials", n)
		}
		time.Sleep(300 * time.Millisecond)
		release()
		time.Sleep(5 * time.Second)
		b.expect(l, "REGISTER t", hello, "REGISTER t")
	})
}

func TestALookupdThatRefuses(t *testing.T) {
	for _, reply := range []string{"E_INVALID", "E_BAD_TOPIC REGISTER topic name 't' is not valid", "what?"} {
		inBubble(t, []string{"l:4160"}, func(b *bench) {
			l := newLookupd("l:4161")
			l.says = func(command string) string {
				if reply == "what?" || command == "REGISTER t" {
					return reply
				}
				return `{}`
			}
			b.net.host("l:4160", l.serve)
			b.start()
			b.create("t")
			time.Sleep(10 * time.Minute)
			// As often as a dead one is tried, not as fast as it refuses.
			if n := len(b.net.dialled("l:4160")); n < 40 || n > 100 {
				t.Errorf("%s: dialled %d times in 10 minutes", reply, n)
			}
		})
	}
}

func TestRepliesOfAnySize(t *testing.T) {
	for _, size := range []uint32{1 << 31, 1<<32 - 1, 1<<31 - 1, 1 << 20} {
		inBubble(t, []string{"l:4160"}, func(b *bench) {
			b.net.host("l:4160", func(conn net.Conn) {
				var hello [500]byte
				_, _ = conn.Read(hello[:])
				_, _ = conn.Write(binary.BigEndian.AppendUint32(nil, size))
				_, _ = io.Copy(io.Discard, conn)
			})
			b.start()
			time.Sleep(time.Second) // less than it has for a reply
			if n := len(b.net.dialled("l:4160")); n < 2 {
				t.Errorf("size %d: dialled %d times", size, n)
			}
		})
	}
}

func TestVeryManyTopics(t *testing.T) {
	const topics = 3000
	inBubble(t, nil, func(b *bench) {
		b.start()
		for i := range topics {
			b.create(fmt.Sprint("t", i))
		}
		l := newLookupd("l:4161")
		b.net.host("l:4160", l.serve)
		b.peers.SetAddresses([]string{"l:4160"})
		synctest.Wait()
		if n := l.knows(); n != topics {
			t.Errorf("lookupd knows %d topics, want %d", n, topics)
		}
	})
}

func TestAddressesChange(t *testing.T) {
	inBubble(t, []string{"k:4160", "l:4160", "l:4160"}, func(b *bench) {
		k, l, m := newLookupd("k:4161"), newLookupd("l:4161"), newLookupd("m:4161")
		b.net.host("k:4160", k.serve)
		b.net.host("l:4160", l.serve)
		b.net.host("m:4160", m.serve)
		b.start()
		b.create("t")
		b.expect(k, hello, "REGISTER t")
		b.expect(l, hello, "REGISTER t")

		b.peers.SetAddresses([]string{"l:4160", "m:4160"})
		b.expect(m, hello, "REGISTER t")
		if k.knows() != 0 {
			t.Error("the lookupd removed was not left")
		}
		b.create("u")
		b.expect(k)
		b.expect(l, "REGISTER u")
		b.expect(m, "REGISTER u")
		if got := b.peers.Addresses(); !slices.Equal(got, []string{"l:4160", "m:4160"}) {
			t.Errorf("addresses are %q", got)
		}
		b.peers.SetAddresses([]string{"k:4160"})
		b.expect(k, hello, "REGISTER t", "REGISTER u")
	})
}
