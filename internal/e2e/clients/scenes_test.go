package clients

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// scene is a client and a broker, with a topic of their own.
type scene struct {
	client
	*testing.T
	broker
	security
	of string // the topic
}

// enough is how long a publish may take, patience being for what comes of it.
const enough = 30 * time.Second

func (s scene) newWriter() writer {
	return s.writer(s.T, writerSettings{Addresses: []string{s.tcp}, security: s.security})
}

// newReader completes the settings and runs a Reader of them.
func (s scene) newReader(settings readerSettings) reader {
	settings.Topic, settings.Addresses, settings.security = s.of, []string{s.tcp}, s.security
	if settings.Channel == "" {
		settings.Channel = "all"
	}
	if settings.Form == "" {
		settings.Form = handles
	}
	return s.reader(s.T, settings)
}

func (s scene) publish(w writer, bodies ...[]byte) {
	s.Helper()
	must(s.T, w.publish(enough, s.of, bodies...))
}

// Every scenario runs on each broker, with each client.
var scenarios = []struct {
	name string
	run  func(s scene)
}{
	{"one message comes as it was, to each form of Reader", oneMessage},
	{"many at once", many},
	{"asynchronously, one by one", asynchronously},
	{"asynchronous batches", asynchronousBatches},
	{"deferred", deferredMessage},
	{"what a handler fails for comes again", failing},
	{"requeued by hand, for so long", requeued},
	{"touched, it does not time out", touched},
	{"unanswered, it times out and comes again", timedOut},
	{"two channels have all of it", twoChannels},
	{"no more in flight than allowed", inFlight},
	{"closing hands back what was not begun", handingBack},
	{"refused, and none the worse for it", refusing},
	{"nobody there", nobodyThere},
}

func TestScenarios(t *testing.T) {
	for _, b := range brokers(t) {
		t.Run(b.tcp, func(t *testing.T) {
			everyClient(t, func(t *testing.T, c client) {
				for _, scenario := range scenarios {
					t.Run(scenario.name, func(t *testing.T) {
						t.Parallel()
						scenario.run(scene{client: c, T: t, broker: b, of: b.topic(t)})
					})
				}
			})
		})
	}
}

// The layers below V2 carry everything as well.
func TestLayers(t *testing.T) {
	for _, b := range brokers(t) {
		t.Run(b.tcp, func(t *testing.T) {
			everyClient(t, func(t *testing.T, c client) {
				for _, layers := range b.layers(c) {
					t.Run(layers.String(), func(t *testing.T) {
						t.Parallel()
						asynchronously(scene{client: c, T: t, broker: b, of: b.topic(t), security: layers})
					})
				}
			})
		})
	}
}

// layers are all that the client and the broker have, but for none at all.
func (b broker) layers(c client) (list []security) {
	for _, compression := range []string{"", "snappy", "deflate"} {
		if compression == "snappy" && !c.hasSnappy() {
			continue
		}
		if compression != "" {
			list = append(list, security{Compression: compression})
		}
		if b.ca != "" {
			list = append(list, security{CA: b.ca, Compression: compression})
		}
	}
	return list
}

func (s security) String() string {
	return fmt.Sprintf("compression=%s tls=%v", s.Compression, s.CA != "")
}

// publishUntil has every Reader subscribed, and publishes body then. The first
// Reader's channel has what was published before there was any, so a message that
// all have received is the first that all will.
func (s scene) publishUntil(w writer, body []byte, readers map[string]reader) (began time.Time) {
	s.Helper()
	hello := []byte("is everybody there?")
	waiting := map[string]reader{}
	for name, r := range readers {
		waiting[name] = r
	}
	for deadline := time.Now().Add(patience); len(waiting) > 0; {
		s.publish(w, hello)
		for name, r := range waiting {
			select {
			case <-r.deliveries():
				delete(waiting, name)
			case <-time.After(50 * time.Millisecond):
			}
		}
		if time.Now().After(deadline) {
			s.Fatalf("%d readers received nothing within %v", len(waiting), patience)
		}
	}
	// What was sent too often comes before a last word.
	last := []byte("that is all of them")
	s.publish(w, last)
	for _, r := range readers {
		for string(next(s.T, r).Body) != string(last) {
		}
	}
	began = time.Now()
	s.publish(w, body)
	return began
}

// expect wants each of bodies once, in whatever order.
func (s scene) expect(r reader, bodies [][]byte) {
	s.Helper()
	var got, want []string
	for _, d := range collect(s.T, r, len(bodies)) {
		got = append(got, string(d.Body))
	}
	for _, b := range bodies {
		want = append(want, string(b))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		s.Fatalf("got %d messages from %q to %q that are not the %d from %q to %q", len(got), got[0], got[len(got)-1], len(want), want[0], want[len(want)-1])
	}
	select {
	case d := <-r.deliveries():
		s.Fatalf("%q came, attempts %d, beside all that was published", d.Body, d.Attempts)
	default:
	}
}
