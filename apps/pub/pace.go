package main

import "time"

// pace spreads messages over time.
type pace struct {
	perSecond float64   // 0 is as fast as possible
	next      time.Time // when the next message may leave
}

// slack is how far what was booked may lag behind: timers are late by as much as a
// millisecond, which is a batch at a high rate.
const slack = 10 * time.Millisecond

// wait books n messages and returns how long they must wait.
func (p *pace) wait(n int, now time.Time) time.Duration {
	if p.perSecond == 0 {
		return 0
	}
	if earliest := now.Add(-slack); p.next.Before(earliest) {
		p.next = earliest // what was not used is gone: no bursts
	}
	delay := max(0, p.next.Sub(now))
	p.next = p.next.Add(time.Duration(float64(n) / p.perSecond * float64(time.Second)))
	return delay
}

// batchLimit returns how many records may be in a batch when limit were
// allowed: at a slow pace, a twentieth of a second's worth.
func (p *pace) batchLimit(limit int) int {
	if p.perSecond == 0 {
		return limit
	}
	return int(max(1, min(float64(limit), p.perSecond/20)))
}

// readLimit returns how many bytes are read at once, at most, 0 being as many as fit: at
// a slow pace few, since what was read when Ctrl-C is pressed is published without
// waiting any more.
func (p *pace) readLimit() int {
	if p.perSecond == 0 {
		return 0
	}
	return int(max(1<<10, min(chunkSize, p.perSecond)))
}
