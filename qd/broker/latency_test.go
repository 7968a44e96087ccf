package broker

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// percentiled calls f under a fake clock with a broker that keeps quantiles over
// ten minutes.
func percentiled(t *testing.T, f func(t *testing.T, r *running)) {
	path := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, path, func(s *Settings) {
			s.Percentiles, s.PercentileWindow = []float64{1, 0.999, 0.99, 0.5}, 10*time.Minute
		})
		f(t, r)
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// exactly is the quantiles of some latencies: of each the smallest that so many
// of a thousand are not above.
func exactly(latencies []time.Duration) (values []float64) {
	sorted := slices.Sorted(slices.Values(latencies))
	for _, perMille := range []int{1000, 999, 990, 500} {
		values = append(values, float64(sorted[(perMille*len(sorted)+999)/1000-1]))
	}
	return values
}

func mustBe(t *testing.T, what string, got Percentiles, latencies []time.Duration) {
	t.Helper()
	want := make([]float64, 4)
	if len(latencies) > 0 {
		want = exactly(latencies)
	}
	if got.Count != len(latencies) || len(got.Values) != len(want) {
		t.Fatalf("%s: %d messages, %d values; %d were finished", what, got.Count, len(got.Values), len(latencies))
	}
	for i, v := range got.Values {
		if math.Abs(v-want[i]) > 0.0101*want[i] {
			t.Errorf("%s: quantile %d is %v, not %v", what, i, time.Duration(v), time.Duration(want[i]))
		}
	}
}

// TestPercentiles: quantiles are within 1 % of the exact ones, by channel and
// for the topic, and forget what is older than the window.
func TestPercentiles(t *testing.T) {
	percentiled(t, func(t *testing.T, r *running) {
		topic, rng := r.topic("t"), rand.New(rand.NewPCG(1, 1))
		fast, slow := subscribe(t, topic, "fast", 1000), subscribe(t, topic, "slow", 1000)
		mustBe(t, "before any FIN", topic.Percentiles("fast"), nil)
		mustBe(t, "the topic before any FIN", topic.Percentiles(""), nil)
		var ofFast, ofSlow []time.Duration
		for i := range 300 {
			publish(t, topic, 3*i, 3*i+3, 10)
			wait := time.Duration(math.Exp(rng.Float64()*6) * float64(time.Millisecond))
			time.Sleep(wait)
			fast.finish(fast.receive(3))
			ofFast = append(ofFast, wait, wait, wait)
			more := time.Duration(rng.IntN(200)) * time.Millisecond
			time.Sleep(more)
			slow.finish(slow.receive(3))
			ofSlow = append(ofSlow, wait+more, wait+more, wait+more)
		}
		mustBe(t, "fast", topic.Percentiles("fast"), ofFast)
		mustBe(t, "slow", topic.Percentiles("slow"), ofSlow)
		mustBe(t, "the topic", topic.Percentiles(""), slices.Concat(ofFast, ofSlow))

		time.Sleep(9 * time.Minute)
		publish(t, topic, 900, 901, 10)
		time.Sleep(time.Second)
		fast.finish(fast.receive(1))
		time.Sleep(2 * time.Minute)
		mustBe(t, "fast, after the window", topic.Percentiles("fast"), []time.Duration{time.Second})
		mustBe(t, "slow, after the window", topic.Percentiles("slow"), nil)
		slow.finish(slow.receive(1))
		fast.close()
		slow.close()
		if err := topic.DeleteChannel("fast"); err != nil {
			t.Fatal(err)
		}
		mustBe(t, "the topic without fast", topic.Percentiles(""), []time.Duration{2*time.Minute + time.Second})
	})
}

// TestPercentilesOfAFew: each message counts while there are only some.
func TestPercentilesOfAFew(t *testing.T) {
	percentiled(t, func(t *testing.T, r *running) {
		topic := r.topic("t")
		k := subscribe(t, topic, "c", 1000)
		var all []time.Duration
		for i := range 120 {
			publish(t, topic, i, i+1, 10)
			wait := time.Duration(i+1) * time.Millisecond
			time.Sleep(wait)
			k.finish(k.receive(1))
			all = append(all, wait)
			mustBe(t, fmt.Sprint(i+1), topic.Percentiles("c"), all)
		}
		k.close()
	})
}
