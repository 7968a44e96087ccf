package broker

import (
	"time"

	"github.com/millrace-mq/millrace/qd/queue"
)

// This file is pauses, and their end when their time has come. That is a time of the
// system's clock, which people read: if that is set meanwhile, or the machine sleeps,
// the broker's own clock is another one.

// clockLook is how often it is looked at whether a pause is over by the system's
// clock, at least.
const clockLook = int64(time.Minute)

func systemTime() int64 { return time.Now().UnixNano() }

// Pause holds back from the channels what is published from now on. Of a topic
// that is paused, why and for how long is replaced. Since is now, whatever p says;
// it and Until are times of the system's clock.
func (t *Topic) Pause(p queue.Pause) error {
	defer t.broker.notify()
	p.Since = systemTime()
	return t.change(func(core *queue.Topic) { core.Pause(p) })
}

// Unpause ends a pause.
func (t *Topic) Unpause() error {
	defer t.broker.notify()
	return t.change(func(core *queue.Topic) { core.Unpause(t.broker.Now()) })
}

// PauseChannel holds back a channel's deliveries, with p as Pause has it.
func (t *Topic) PauseChannel(name string, p queue.Pause) error {
	defer t.broker.notify()
	p.Since = systemTime()
	return t.changeChannel(name, func(c *queue.Channel) { c.Pause(p) })
}

// UnpauseChannel ends a pause.
func (t *Topic) UnpauseChannel(name string) error {
	defer t.broker.notify()
	return t.changeChannel(name, (*queue.Channel).Unpause)
}

// awaitEnd asks for a look at the topic when a pause ends by itself. Under mu.
func (t *Topic) awaitEnd() {
	if end, ok := t.core.NextEnd(); ok {
		t.ask(t.broker.Now() + min(max(end-systemTime(), 0), clockLook))
	}
}

// ended is which pauses were over.
type ended struct {
	topic    bool
	channels []string
}

// endPauses ends the pauses that are over. It is not waited for until that is
// written down: after a crash they are over all the same. Under mu.
func (t *Topic) endPauses(now int64) (e ended) {
	e.topic, e.channels = t.core.EndPauses(systemTime(), now)
	if e.any() && t.logs != nil {
		t.logs.change++
		t.soil(now)
	}
	t.awaitEnd()
	return e
}

const pauseOver = "its pause is over"

func (e ended) any() bool { return e.topic || len(e.channels) > 0 }

// tellEnded tells of pauses that were over. mu must be free.
func (t *Topic) tellEnded(e ended) {
	if !e.any() {
		return
	}
	if e.topic {
		t.broker.log.Info("topic resumed: its pause is over", "topic", t.name)
		t.broker.tell(byItself, Change{Action: "unpause-topic", Topic: t.name, Detail: pauseOver})
	}
	for _, c := range e.channels {
		t.broker.log.Info("channel resumed: its pause is over", "topic", t.name, "channel", c)
		t.broker.tell(byItself, Change{Action: "unpause-channel", Topic: t.name, Channel: c, Detail: pauseOver})
	}
	t.broker.notify()
}
