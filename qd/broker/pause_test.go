package broker

import (
	"errors"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/qd/disk"
	"github.com/millrace-mq/millrace/qd/queue"
)

// atEachLevel calls test in a bubble with a machine of each level, and with what
// ends a daemon of it so that nothing that was acknowledged is lost.
func atEachLevel(t *testing.T, test func(t *testing.T, m *machine, again func())) {
	for _, level := range []Level{Memory, Disk, Fsync} {
		t.Run(level.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := boot(t, level, nil)
				again := m.kill
				if level == Memory {
					again = m.reboot
				}
				test(t, m, again)
			})
		})
	}
}

// paused is why the topic and its channel are paused.
func paused(t *Topic, channel string) (topic, of *queue.Pause) {
	t.View(func(core *queue.Topic) { topic, of = core.CurrentPause(), core.Channel(channel).CurrentPause() })
	return topic, of
}

func allNil(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// TestPauseKept starts a daemon again that has paused a topic and a channel: why
// is still known.
func TestPauseKept(t *testing.T) {
	atEachLevel(t, func(t *testing.T, m *machine, again func()) {
		topic, began := m.topic("t"), m.Now()
		ofTopic := queue.Pause{Reason: "müde \"sehr\" <b>", By: "ann", Until: began + int64(time.Hour)}
		ofChannel := queue.Pause{Reason: "the other one"}
		allNil(t, topic.CreateChannel("c"), topic.CreateChannel("d"),
			topic.Pause(queue.Pause{Reason: "replaced", Until: 1 << 62}), topic.PauseChannel("c", queue.Pause{By: "replaced"}))
		time.Sleep(time.Minute)
		allNil(t, topic.Pause(ofTopic), topic.PauseChannel("c", ofChannel))
		ofTopic.Since, ofChannel.Since = began+int64(time.Minute), began+int64(time.Minute)
		for range 3 {
			topic, channel := paused(m.topic("t"), "c")
			if topic == nil || *topic != ofTopic || channel == nil || *channel != ofChannel {
				t.Fatalf("the topic is paused: %+v, the channel: %+v", topic, channel)
			}
			if _, none := paused(m.topic("t"), "d"); none != nil {
				t.Fatalf("another channel is paused: %+v", none)
			}
			again()
		}
		allNil(t, m.topic("t").Unpause(), m.topic("t").UnpauseChannel("c"))
		again()
		if topic, channel := paused(m.topic("t"), "c"); topic != nil || channel != nil {
			t.Errorf("after an end by hand, the topic is paused: %+v, the channel: %+v", topic, channel)
		}
	})
}

// TestPauseEnds waits for the ends of pauses, which come to the second, also
// when the daemon was started again meanwhile.
func TestPauseEnds(t *testing.T) {
	atEachLevel(t, func(t *testing.T, m *machine, again func()) {
		for _, restarted := range []bool{false, true} {
			name := map[bool]string{false: "t", true: "restarted"}[restarted]
			began, topic := time.Now(), m.topic(name)
			allNil(t, topic.CreateChannel("c"), topic.CreateChannel("d"),
				topic.Pause(queue.Pause{Until: m.Now() + int64(10*time.Minute)}),
				topic.PauseChannel("d", queue.Pause{Until: m.Now() + int64(20*time.Minute)}),
				topic.Defer(body(100, 1), time.Second))
			publish(t, topic, 0, 10, 100)
			if restarted {
				time.Sleep(5 * time.Minute)
				again()
				topic = m.topic(name)
			}
			changes, cancel := m.Watch()
			c, d := subscribe(t, topic, "c", 100), subscribe(t, topic, "d", 100)
			time.Sleep(time.Until(began.Add(10*time.Minute - time.Second)))
			if some := c.poll(); some != nil {
				t.Errorf("%d messages come from a paused topic", len(some))
			}
			select {
			case <-changes:
				t.Error("watchers are told while nothing happens")
			default:
			}
			time.Sleep(time.Second)
			synctest.Wait()
			select {
			case <-changes:
			default:
				t.Error("watchers are not told that the topic goes on")
			}
			c.consume(11)
			if ofTopic, channel := paused(topic, "d"); ofTopic != nil || channel == nil {
				t.Errorf("the topic is paused: %+v, the channel: %+v", ofTopic, channel)
			}
			if some := d.poll(); some != nil {
				t.Errorf("%d messages come from a paused channel", len(some))
			}
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			d.consume(11)
			if _, channel := paused(topic, "d"); channel != nil {
				t.Errorf("the channel is paused: %+v", channel)
			}
			c.close()
			d.close()
			cancel()
		}
		time.Sleep(time.Second) // what was finished is written down behind
		again()
		for _, name := range []string{"t", "restarted"} {
			topic := m.topic(name)
			if ofTopic, channel := paused(topic, "d"); ofTopic != nil || channel != nil {
				t.Errorf("%s is paused again: %+v, its channel: %+v", name, ofTopic, channel)
			}
			if got := figures(topic, "c"); got != "depth 0, in flight 0, deferred 0" {
				t.Errorf("%s has %s", name, got)
			}
		}
	})
}

// TestPauseEndsMeanwhile has pauses end while no daemon runs: the next one goes on
// at once.
func TestPauseEndsMeanwhile(t *testing.T) {
	for _, level := range []Level{Memory, Disk, Fsync} {
		t.Run(level.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := boot(t, level, nil)
				topic, until := m.topic("t"), m.Now()+int64(10*time.Minute)
				allNil(t, topic.CreateChannel("c"), topic.CreateChannel("d"),
					topic.Pause(queue.Pause{Until: until}), topic.PauseChannel("d", queue.Pause{Until: until}),
					topic.Defer(body(100, 1), time.Second))
				publish(t, topic, 0, 10, 100)
				m.audit()
				disk := m.disk
				if level != Memory {
					disk = m.disk.Kill()
				}
				allNil(t, m.stop())
				time.Sleep(time.Hour)
				m.restart(disk)
				synctest.Wait()
				if ofTopic, channel := paused(m.topic("t"), "d"); ofTopic != nil || channel != nil {
					t.Errorf("the topic is paused: %+v, its channel: %+v", ofTopic, channel)
				}
				if !m.log.contains("topic resumed") || !m.log.contains("channel resumed") {
					t.Error("the log does not tell")
				}
				for _, channel := range []string{"c", "d"} {
					c := subscribe(t, m.topic("t"), channel, 100)
					c.consume(11)
					c.close()
				}
			})
		})
	}
}

// TestPauseEndsByTheSystemsClock has pauses end by what people's watches say, though the
// daemon was started with a wrong time, or the time is set meanwhile.
func TestPauseEndsByTheSystemsClock(t *testing.T) {
	for name, wrong := range map[string]time.Duration{"fast": time.Hour, "slow": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := boot(t, Memory, nil) // of which nothing else is looked at
				synctest.Wait()
				m.began += int64(wrong)
				topic := m.topic("t")
				allNil(t, topic.CreateChannel("c"))
				in := func(d time.Duration) int64 { return time.Now().Add(d).UnixNano() }
				is := func(what string, want bool) {
					t.Helper()
					synctest.Wait()
					if ofTopic, channel := paused(topic, "c"); (ofTopic != nil) != want || (channel != nil) != want {
						t.Errorf("%s, the topic is paused: %+v, the channel: %+v", what, ofTopic, channel)
					}
				}
				allNil(t, topic.Pause(queue.Pause{Until: in(10 * time.Minute)}), topic.PauseChannel("c", queue.Pause{Until: in(10 * time.Minute)}))
				if ofTopic, _ := paused(topic, "c"); ofTopic.Since != in(0) {
					t.Errorf("since %v", time.Unix(0, ofTopic.Since))
				}
				time.Sleep(10*time.Minute - 1)
				is("before its end", true)
				time.Sleep(time.Nanosecond)
				is("at its end", false)

				// To set the clock is the same as to name other times without saying so.
				set := func(by time.Duration) {
					topic.View(func(core *queue.Topic) {
						p := queue.Pause{Until: core.CurrentPause().Until - int64(by)}
						core.Pause(p)
						core.Channel("c").Pause(p)
					})
				}
				allNil(t, topic.Pause(queue.Pause{Until: in(2 * time.Hour)}), topic.PauseChannel("c", queue.Pause{Until: in(2 * time.Hour)}))
				set(90 * time.Minute)
				time.Sleep(30*time.Minute - 1)
				is("before its end after a step forwards", true)
				time.Sleep(time.Minute)
				is("a minute after it", false)
				allNil(t, topic.Pause(queue.Pause{Until: in(30 * time.Minute)}), topic.PauseChannel("c", queue.Pause{Until: in(30 * time.Minute)}))
				set(-time.Hour)
				time.Sleep(90*time.Minute - 1)
				is("before its end after a step back", true)
				time.Sleep(time.Minute)
				is("a minute after that", false)
			})
		})
	}
}

// unwritable is a disk on which topic.json cannot be written while on.
type unwritable struct {
	disk.FS
	on *atomic.Bool
}

func (u unwritable) Create(path string) (disk.File, error) {
	if u.on.Load() && strings.HasSuffix(path, topicFile+".tmp") {
		return nil, errors.New("not today")
	}
	return u.FS.Create(path)
}

// TestPauseEndedUnwritten is killed when consumers have gone on after the end of
// a pause, and topic.json has not heard of it.
func TestPauseEndedUnwritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var on atomic.Bool
		m := boot(t, Disk, nil)
		set := m.set
		m.set = func(s *Settings) { set(s); s.FS = unwritable{s.FS, &on} }
		m.reboot()
		topic := m.topic("t")
		allNil(t, topic.CreateChannel("c"))
		publish(t, topic, 0, 10, 100)
		allNil(t, topic.Pause(queue.Pause{Until: m.Now() + int64(time.Minute)}), topic.Defer(body(100, 1), time.Second))
		publish(t, topic, 10, 20, 100)
		on.Store(true)
		time.Sleep(time.Minute)
		synctest.Wait()
		c := subscribe(t, topic, "c", 100)
		c.consume(21)
		c.close()
		publish(t, topic, 20, 30, 100)
		time.Sleep(time.Second)
		killed := m.disk.Kill()
		on.Store(false)
		m.restart(killed)
		synctest.Wait()
		if ofTopic, _ := paused(m.topic("t"), "c"); ofTopic != nil {
			t.Errorf("the topic is paused: %+v", ofTopic)
		}
		c = subscribe(t, m.topic("t"), "c", 100)
		// The deferred one may come again: that it was handed over was not written.
		seen := make(map[int]bool)
		for len(seen) < 10 {
			for _, g := range c.consume(1) {
				if g.number != 100 {
					seen[g.number] = true
				}
				if g.number < 20 {
					t.Errorf("number %d, which was finished, comes again", g.number)
				}
			}
		}
		c.close()
	})
}

// TestPauseOfOldFiles reads files that say of pauses only that they are.
func TestPauseOfOldFiles(t *testing.T) {
	words := regexp.MustCompile(`,?\s*"pause": \{[^}]*\}`)
	synctest.Test(t, func(t *testing.T) {
		for _, level := range []Level{Memory, Disk} {
			m := boot(t, level, nil)
			topic := m.topic("t")
			allNil(t, topic.CreateChannel("c"), topic.Pause(queue.Pause{Reason: "r"}), topic.PauseChannel("c", queue.Pause{Reason: "r"}), m.stop())
			path := filepath.Join(m.path, metaFile)
			if level == Disk {
				path = filepath.Join(topic.logs.dir, topicFile)
			}
			text, err := readFile(m.disk, path)
			allNil(t, err)
			old := words.ReplaceAll(text, nil)
			if got := len(words.FindAll(text, -1)); got != 2 {
				t.Fatalf("%d pauses in %s", got, text)
			}
			allNil(t, replaceFile(m.disk, path, old))
			m.restart(m.disk)
			ofTopic, channel := paused(m.topic("t"), "c")
			if ofTopic == nil || *ofTopic != (queue.Pause{}) || channel == nil || *channel != (queue.Pause{}) {
				t.Errorf("%v: the topic is paused: %+v, the channel: %+v", level, ofTopic, channel)
			}
		}
	})
}
