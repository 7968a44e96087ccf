package limit

import (
	"fmt"
	"math"
	"testing"
	"time"
)

// second is the first time that is given in these tests.
const second = int64(time.Second)

func TestBucket(t *testing.T) {
	type step struct {
		at   time.Duration // since the first
		wait time.Duration // before anything can be taken
		take int64
	}
	for _, c := range []struct {
		name  string
		rate  Rate
		steps []step
	}{
		{"what was saved up goes at once, and then comes at the rate", 10, []step{
			{0, 0, 10}, {0, 0, 1}, {0, 100 * time.Millisecond, 0}, {100 * time.Millisecond, 0, 1}, {150 * time.Millisecond, 50 * time.Millisecond, 0},
		}},
		{"no more is saved up than for a second", 10, []step{{time.Hour, 0, 10}, {time.Hour, 0, 5}, {time.Hour, 500 * time.Millisecond, 0}}},
		{"more than a second's worth can be taken, and is owed", 10, []step{{0, 0, 1000}, {0, 99 * time.Second, 0}, {99 * time.Second, 0, 1}}},
		{"half is saved up in half the time", 10, []step{{0, 0, 10}, {500 * time.Millisecond, 0, 6}, {500 * time.Millisecond, 100 * time.Millisecond, 0}}},
		{"any number", 0, []step{{0, 0, math.MaxInt64}, {0, 0, math.MaxInt64}}},
		{"a fraction of a nanosecond counts as one", math.MaxInt64, []step{{0, 0, 1}, {0, 0, 1}}},
		{"what would take longer than time is", 1, []step{{0, 0, math.MaxInt64}, {0, math.MaxInt64 - time.Second, 1}, {0, math.MaxInt64 - time.Second, 0}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b Bucket
			for i, s := range c.steps {
				now := second + int64(s.at)
				if got := b.Wait(now); got != s.wait {
					t.Fatalf("step %d: wait %v, want %v", i, got, s.wait)
				}
				b.Take(now, c.rate, s.take)
			}
		})
	}
}

// Whoever takes what he can gets the rate, whatever the size of his batches.
func TestRate(t *testing.T) {
	for _, rate := range []Rate{1, 7, 1000, 123_457} {
		for _, batch := range []int64{1, 3, 99, 100_000} {
			if batch > 100*int64(rate) {
				continue // one batch would be all
			}
			const long = 200 * time.Second
			var b Bucket
			now, taken := second, int64(0)
			for now < second+int64(long) && taken < 1_000_000*batch {
				now += int64(b.Wait(now))
				b.Take(now, rate, batch)
				taken += batch
			}
			got := float64(taken) / (time.Duration(now-second) + Burst).Seconds()
			// The last batch is owed, and at the start a second's worth was there.
			if most := float64(rate)*1.001 + float64(batch)/(time.Duration(now-second)+Burst).Seconds(); got > most || got < float64(rate)*0.97 {
				t.Errorf("at %d a second in batches of %d: %.1f a second", rate, batch, got)
			}
		}
	}
}

func TestFull(t *testing.T) {
	var b Bucket
	if !b.Full(second) {
		t.Error("at first it is not full")
	}
	b.Take(second, 10, 5)
	for at, want := range map[time.Duration]bool{0: false, 499 * time.Millisecond: false, 500 * time.Millisecond: true} {
		if b.Full(second+int64(at)) != want {
			t.Errorf("after %v it is full: %v", at, !want)
		}
	}
}

// What is remembered is bounded, and who is forgotten owes nothing.
func TestTable(t *testing.T) {
	rates := Rates{Messages: 10}
	table := NewTable(1000)
	now := second
	for i := range 10_000 { // each is done with after a tenth of a second
		table.Of(now, fmt.Sprint(i)).Take(now, rates, Load{Messages: 1})
		now += int64(time.Millisecond)
	}
	if n := table.Len(); n > 512 {
		t.Errorf("%d accounts are remembered, of 100 that owe", n)
	}
	debtor := table.Of(now, "debtor")
	debtor.Take(now, rates, Load{Messages: 1000})
	for i := range 2000 { // all at once: there is no room for all
		table.Of(now, fmt.Sprint("mob ", i)).Take(now, rates, Load{Messages: 11})
	}
	if n := table.Len(); n != 1000 {
		t.Errorf("%d accounts, want as many as there may be", n)
	}
	if wait, _ := table.Of(now, "newcomer").Wait(now); wait < time.Minute {
		t.Errorf("who does not fit in waits %v: he does not share", wait)
	}
	if wait, _ := table.Of(now, "debtor").Wait(now); wait != 99*time.Second {
		t.Errorf("the debtor waits %v", wait)
	}
	now += int64(2 * time.Second)
	if wait, _ := table.Of(now, "late").Wait(now); wait != 0 || table.Len() > 2 {
		t.Errorf("when they are done, %d are remembered, and a newcomer waits %v", table.Len(), wait)
	}
}

func TestWaitTellsWhy(t *testing.T) {
	var d Debts
	d.Take(second, Rates{Bytes: 10, Messages: 10}, Load{Bytes: 30, Messages: 20})
	if wait, forBytes := d.Wait(second); wait != 2*time.Second || !forBytes {
		t.Errorf("%v, for bytes: %v", wait, forBytes)
	}
	d.Take(second, Rates{Bytes: 10, Messages: 10}, Load{Messages: 20})
	if wait, forBytes := d.Wait(second); wait != 3*time.Second || forBytes {
		t.Errorf("%v, for bytes: %v", wait, forBytes)
	}
}
