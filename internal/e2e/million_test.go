package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"
)

const (
	millionLines = 1_100_000
	// maxInFlight is each to_file's --max-in-flight.
	maxInFlight = 2500
)

// A journey is how real text goes through the house: pub → qd → two to_files,
// found through lookupd, on channels of their own; one writes plain text, the
// other compresses and rotates. qd is stopped and started again while text
// goes in and out.
type journey struct {
	lines int
	stops []float64 // when to stop qd, as shares of the lines published
}

func TestMillionLinesAndARestart(t *testing.T) {
	journey{millionLines, []float64{0.4}}.run(t)
}

// TestSoak repeats longer journeys with stops at random moments, for as many
// minutes as SOAK says.
func TestSoak(t *testing.T) {
	end := time.Now().Add(soaking(t))
	for n := 1; n == 1 || time.Now().Before(end); n++ {
		j := journey{lines: 2 * millionLines}
		for at := 0.0; ; {
			if at += 0.05 + 0.3*rand.Float64(); at > 0.95 {
				break
			}
			j.stops = append(j.stops, at)
		}
		if !t.Run(fmt.Sprintf("journey %d stops %.2f", n, j.stops), j.run) {
			return
		}
	}
}

// soaking is how long a soak test should go on, by SOAK, which is a number of
// minutes; without it the test does not run.
func soaking(t *testing.T) time.Duration {
	t.Helper()
	minutes, err := strconv.ParseFloat(os.Getenv("SOAK"), 64)
	if err != nil {
		t.Skip("SOAK is not set to a number of minutes")
	}
	return time.Duration(minutes * float64(time.Minute))
}

func (j journey) run(t *testing.T) {
	input := realText(t, j.lines)
	l := newLookup(t)
	l.start(t)
	d := newDaemon(t, "--lookupd-tcp-address="+l.tcp)
	qd := d.start(t)
	// The channels are there before the first line: what a topic has before its
	// first channel goes to that one alone.
	d.post(t, "/topic/create?topic=text", "")
	d.post(t, "/channel/create?topic=text&channel=plain", "")
	d.post(t, "/channel/create?topic=text&channel=packed", "")

	plain, packed := t.TempDir(), t.TempDir()
	consume := func(channel, dir string, flags ...string) *process {
		return start(t, nil, "to_file", append([]string{
			"--topic=text", "--channel=" + channel, "--output-dir=" + dir,
			"--lookupd-http-address=" + l.http, fmt.Sprintf("--max-in-flight=%d", maxInFlight),
			"--datetime-format=%Y", // no rotation because an hour began
		}, flags...)...)
	}
	consumers := []*process{
		consume("plain", plain),
		consume("packed", packed, "--gzip", "--rotate-size=8000000"),
	}

	f, err := os.Open(input)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	pub := start(t, f, "pub", "--topic=text", "--qd-tcp-address="+d.tcp)
	before := 0 // lines published in the lives of qd that are over
	for _, share := range j.stops {
		at := int(share * float64(j.lines))
		published, channels := 0, map[string]channelStats{}
		eventually(t, fmt.Sprintf("line %d to be published", at), func() bool {
			published, channels = d.stats("text")
			return before+published >= at
		})
		t.Logf("stopping qd at line %d; waiting lines: plain %d, packed %d",
			before+published, channels["plain"].Depth, channels["packed"].Depth)
		if !pub.running() {
			t.Fatalf("pub ended with status %d before qd was stopped", pub.status())
		}
		before += published
		qd.stop(syscall.SIGTERM)
		qd = d.start(t)
	}
	if got := pub.status(); got != 0 {
		t.Fatalf("pub ended with status %d, want 0", got)
	}
	if published, _ := d.stats("text"); published == 0 && len(j.stops) > 0 {
		t.Fatal("nothing was published after the last restart: it did not come in the middle")
	}
	eventually(t, "both channels to be drained", func() bool { return d.drained("text", "plain", "packed") })
	for _, c := range consumers {
		c.stop(syscall.SIGTERM)
	}
	qd.stop(syscall.SIGTERM)
	j.verify(t, d, input, plain, packed)
}

// verify compares what came out with what went in.
func (j journey) verify(t *testing.T, d daemon, input, plain, packed string) {
	want := readLines(t, []string{input})
	if len(want) != j.lines {
		t.Fatalf("the input has %d lines, want %d", len(want), j.lines)
	}
	j.expect(t, "plain", compare(want, readLines(t, files(t, plain, "*.log"))))
	parts := files(t, packed, "*.log.gz")
	if len(parts) < 2 {
		t.Errorf("the packed output was not rotated: %q", parts)
	}
	j.expect(t, "packed", compare(want, readLines(t, parts)))
	if bad := files(t, d.data, "*.bad"); len(bad) > 0 {
		t.Errorf("qd set files aside: %q", bad)
	}
}

// expect wants an output that equals the input, line by line.
//
// qd promises at-least-once: what a consumer holds when qd stops may come
// again, and so may what a publisher had sent and not seen acknowledged. An
// orderly stop leaves no such thing, which is why nothing is allowed for here:
// qd refuses publishes with an answer, so pub knows what to send again, and
// waits for its consumers, so a to_file that has nothing left to write syncs
// and finishes what it holds. Only a to_file that needs longer than qd waits
// could see lines twice.
func (j journey) expect(t *testing.T, output string, d difference) {
	t.Helper()
	if len(d.lost)+len(d.strange)+len(d.repeated)+len(d.early) > 0 {
		t.Errorf("%s is not the input: %v", output, d)
	}
}
