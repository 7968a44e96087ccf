package queue

// Pause is what is known of why a topic or channel is paused, and for how long.
type Pause struct {
	Reason string `json:"reason,omitempty"` // in words, for people
	By     string `json:"by,omitempty"`     // who did it
	Since  int64  `json:"since,omitempty"`  // when, ns since the Unix epoch; 0 is not known
	Until  int64  `json:"until,omitempty"`  // when it ends by itself, likewise; 0 is never
}

// over reports whether the pause has to end by then.
func (p Pause) over(clock int64) bool { return p.Until != 0 && p.Until <= clock }

// Pause holds back what is published from now on, Unpause lets it go to the
// channels. What was published before is theirs already. Of a topic that is
// paused, why it is so is replaced, and nothing else changes.
func (t *Topic) Pause(p Pause) {
	t.pause = p
	if t.paused {
		return
	}
	t.seal()
	t.paused = true
	t.pausedAt = t.end
	if t.log != nil {
		t.log.sideLimit = t.log.untaken()
		if len(t.channels) == 0 {
			t.pausedAt = t.log.base
		}
		return
	}
	if len(t.channels) == 0 {
		t.pausedAt = t.fanned
	}
}

// Unpause ends a pause.
func (t *Topic) Unpause(now int64) {
	if !t.paused {
		return
	}
	t.paused, t.pause = false, Pause{}
	t.handOver(now)
	for _, c := range t.channels {
		c.rouse()
	}
}

// Paused reports whether new messages are held back from the channels.
func (t *Topic) Paused() bool { return t.paused }

// CurrentPause is why the topic is paused; nil if it is not.
func (t *Topic) CurrentPause() *Pause {
	if !t.paused {
		return nil
	}
	p := t.pause
	return &p
}

// Pause holds back deliveries of the channel. Of one that is paused, why it is so
// is replaced.
func (c *Channel) Pause(p Pause) { c.paused, c.pause = true, p }

// Unpause ends a pause.
func (c *Channel) Unpause() {
	c.paused, c.pause = false, Pause{}
	c.rouse()
}

// Paused reports whether deliveries are held back.
func (c *Channel) Paused() bool { return c.paused }

// CurrentPause is why the channel is paused; nil if it is not.
func (c *Channel) CurrentPause() *Pause {
	if !c.paused {
		return nil
	}
	p := c.pause
	return &p
}

// EndPauses ends the pauses whose time has come by the clock that Until is of, of the
// topic and of its channels, and tells which: topic, and the names of channels. now
// is as for Unpause.
func (t *Topic) EndPauses(clock, now int64) (topic bool, channels []string) {
	if topic = t.paused && t.pause.over(clock); topic {
		t.Unpause(now)
	}
	for _, c := range t.channels {
		if c.paused && c.pause.over(clock) {
			c.Unpause()
			channels = append(channels, c.name)
		}
	}
	return topic, channels
}

// NextEnd is when EndPauses is next needed; ok is false while no pause ends by
// itself.
func (t *Topic) NextEnd() (when int64, ok bool) {
	sooner := func(p Pause) {
		if p.Until != 0 && (!ok || p.Until < when) {
			when, ok = p.Until, true
		}
	}
	sooner(t.pause)
	for _, c := range t.channels {
		sooner(c.pause)
	}
	return when, ok
}
