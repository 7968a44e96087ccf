package metrics_test

import (
	"flag"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/millrace-mq/millrace/qd/queue"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// busy is a daemon with something to tell by every metric that there is.
func busy(t testing.TB, maxTopics int) *daemon {
	d := start(t, maxTopics)
	d.topic("orders", "ship", "bill")
	d.topic("idle")
	d.publish("orders", 6)
	if err := d.topic("orders").PauseChannel("bill", queue.Pause{}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond)
	d.drain("orders", "ship", true)
	return d
}

// All of ours, as text.
func TestAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := busy(t, 100).get()
		if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain; version=0.0.4") {
			t.Errorf("%d %s", w.Code, w.Header())
		}
		var ours []string
		for line := range strings.Lines(w.Body.String()) {
			if strings.Contains(line, "millrace_") {
				ours = append(ours, line)
			}
		}
		golden(t, "metrics.txt", strings.Join(ours, ""))
	})
}

// Prometheus's own linter has nothing to say about the names, types and helps.
func TestLint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		problems, err := promlint.New(busy(t, 1).get().Body).Lint()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			if strings.HasPrefix(p.Metric, "millrace_") {
				t.Errorf("%s: %s", p.Metric, p.Text)
			}
		}
	})
}

// machine is what differs from one machine to the next.
var machine = regexp.MustCompile(`(?m)^(millrace_build_info)\{.*\}|^(millrace_disk_free_bytes) .*$|^(millrace_message_memory_bytes) .*$`)

func golden(t *testing.T, name, got string) {
	t.Helper()
	got = machine.ReplaceAllString(got, "$1$2$3 *")
	path := "testdata/" + name
	if *rewrite {
		if err := os.WriteFile(path, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (-rewrite accepts this):\n%s", path, got)
	}
}

// Beside ours there are Go's and the process's, and a health that can be bad.
func TestOthers(t *testing.T) {
	d := start(t, 1)
	all := d.scrape()
	for _, name := range []string{"go_goroutines", "process_open_fds", "process_resident_memory_bytes"} {
		if all[name] == 0 {
			t.Errorf("%s is %v", name, all[name])
		}
	}
	if all["millrace_healthy"] != 1 {
		t.Errorf("healthy is %v", all["millrace_healthy"])
	}
	d.broker.Drain()
	if after := d.scrape(); all["millrace_draining"] != 0 || after["millrace_draining"] != 1 {
		t.Errorf("draining is %v, and after the drain began %v", all["millrace_draining"], after["millrace_draining"])
	}
}

func TestOpenMetrics(t *testing.T) {
	d := busy(t, 100)
	w := d.get("Accept", "application/openmetrics-text;version=1.0.0")
	if kind := w.Header().Get("Content-Type"); !strings.HasPrefix(kind, "application/openmetrics-text") || !strings.HasSuffix(w.Body.String(), "# EOF\n") {
		t.Errorf("%s", kind)
	}
}

// published is the name of a series of topics.
func published(topic string) string {
	return `millrace_topic_published_messages_total{topic="` + topic + `"}`
}

// shown are the topics that have series.
func shown(all map[string]float64) (topics []string) {
	for name := range all {
		if _, label, ok := strings.Cut(name, `millrace_topic_published_messages_total{topic="`); ok {
			topics = append(topics, strings.TrimSuffix(label, `"}`))
		}
	}
	slices.Sort(topics)
	return topics
}

// Who has series of their own when there are too many.
func TestPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, 2)
		step := func(what string, hidden float64, topics ...string) map[string]float64 {
			t.Helper()
			all := d.scrape()
			if got := shown(all); !slices.Equal(got, topics) {
				t.Errorf("%s: shown are %q, want %q", what, got, topics)
			}
			if got := all["millrace_metrics_hidden_topics"]; got != hidden {
				t.Errorf("%s: %v are hidden, want %v", what, got, hidden)
			}
			return all
		}
		for _, name := range []string{"a", "b", "c", "d"} {
			d.topic(name, "x")
		}
		step("nobody is busy", 4, "_other")
		d.publish("b", 1)
		step("one is", 3, "_other", "b")
		d.publish("d", 5)
		d.publish("c", 3)
		all := step("the busiest gets the last place", 2, "_other", "b", "d")
		if all[published("_other")] != 9 || all[published("b")] != 0 {
			t.Errorf("what happened before counts for the rest: %v, %v", all[published("_other")], all[published("b")])
		}
		d.publish("c", 100)
		d.publish("b", 10)
		all = step("who is shown stays", 2, "_other", "b", "d")
		if all[published("_other")] != 109 || all[published("b")] != 10 {
			t.Errorf("now: %v, %v", all[published("_other")], all[published("b")])
		}
		d.drain("b", "x", false)
		d.drain("d", "x", false)
		step("even if it has nothing", 2, "_other", "b", "d")
		time.Sleep(40 * time.Minute)
		d.publish("d", 1)
		d.drain("d", "x", false)
		step("for less than an hour", 2, "_other", "b", "d")
		time.Sleep(40 * time.Minute)
		d.publish("c", 1)
		step("then it loses its place", 2, "_other", "c", "d")
		if err := d.broker.DeleteTopic("d"); err != nil {
			t.Fatal(err)
		}
		d.publish("b", 7)
		all = step("a deleted one leaves a place", 1, "_other", "b", "c")
		d.publish("b", 2)
		if all[published("b")] != 10 || d.scrape()[published("b")] != 12 {
			t.Error("who comes again goes on where it was")
		}
		if err := d.broker.DeleteTopic("b"); err != nil {
			t.Fatal(err)
		}
		d.publish("b", 4)
		if all = step("a new one of the same name", 1, "_other", "b", "c"); all[published("b")] != 4 {
			t.Errorf("begins with %v", all[published("b")])
		}
		d.topic("_other", "_other")
		d.publish("_other", 1)
		step("a name that is taken", 2, "_other", "b", "c")
	})
}

// Channels: those of hidden topics are one series, and so are those of a shown
// topic that are too many.
func TestPlacesOfChannels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, 1)
		d.topic("few", "x", "y")
		d.topic("many", "a", "b", "c", "d", "e", "f", "_other")
		d.publish("many", 3)
		d.publish("few", 1)
		d.scrape()
		d.publish("few", 1)
		d.publish("many", 1)
		all := d.scrape()
		got := make(map[string]float64)
		for name, v := range all {
			if labels, ok := strings.CutPrefix(name, "millrace_channel_messages_total"); ok {
				got[labels] = v
			}
		}
		want := map[string]float64{
			`{channel="_other",topic="_other"}`: 4, // x and y
			`{channel="a",topic="many"}`:        4,
			`{channel="b",topic="many"}`:        4,
			`{channel="c",topic="many"}`:        4,
			`{channel="d",topic="many"}`:        4,
			`{channel="_other",topic="many"}`:   12, // e, f, and one that is called so
		}
		if !maps.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		if n := all["millrace_metrics_hidden_channels"]; n != 5 {
			t.Errorf("%v are hidden", n)
		}
		if err := d.broker.DeleteTopic("many"); err != nil {
			t.Fatal(err)
		}
		d.scrape()
		d.publish("few", 1)
		all = d.scrape()
		for labels, want := range map[string]float64{
			`{channel="_other",topic="_other"}`: 4, `{channel="x",topic="few"}`: 1, `{channel="y",topic="few"}`: 1,
		} {
			if got := all["millrace_channel_messages_total"+labels]; got != want {
				t.Errorf("%s in place of many: %v, want %v", labels, got, want)
			}
		}
	})
}

// A topic that loses its place takes all its channels with it, those too that were
// summed.
func TestChannelsOfATopicThatLosesItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, 1)
		channels := []string{"a", "b", "c", "d", "e", "f"}
		d.topic("many", channels...)
		d.topic("few", "x")
		d.publish("many", 1)
		if all := d.scrape(); !slices.Equal(shown(all), []string{"_other", "many"}) {
			t.Fatalf("shown are %q", shown(all))
		}
		for _, c := range channels {
			d.drain("many", c, false)
		}
		d.scrape()
		time.Sleep(61 * time.Minute)
		d.publish("few", 1)
		if all := d.scrape(); !slices.Equal(shown(all), []string{"_other", "few"}) {
			t.Fatalf("shown are %q", shown(all))
		}
		d.publish("many", 5)
		all := d.scrape()
		if got := all[`millrace_channel_messages_total{channel="_other",topic="_other"}`]; got != 1+5*6 {
			t.Errorf("the rest has %v", got)
		}
		if got := all["millrace_metrics_hidden_channels"]; got != 6 {
			t.Errorf("%v are hidden", got)
		}
		for name := range all {
			if strings.Contains(name, `topic="many"`) {
				t.Errorf("%s is still there", name)
			}
		}
	})
}
