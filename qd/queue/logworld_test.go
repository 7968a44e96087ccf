package queue

import (
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/millrace-mq/millrace/protocol"
)

// logWorld is a topic with a log, driven as a daemon drives it, and the log.
type logWorld struct {
	t     testing.TB
	rng   *rand.Rand
	now   int64
	store *heapStore

	topology bool // consumers are near or far
	topic    *Topic
	next     uint64 // extents drawn
	made     int    // messages published, which number their bodies

	memory int      // MemoryMessages
	first  uint64   // position of the oldest message in the log
	main   []record // by position
	side   []record
	state  LogState // as it was last written
	kept   map[string]*keeping
	loads  int // done
}

// record is a message in a log.
type record struct {
	frame  []byte // nil if it is damaged or removed
	number int
	due    int64
	moved  bool // came from the main log
}

// keeping is what is written down of a channel.
type keeping struct {
	progress Progress // without the changes, which are in entries
	entries  map[uint64]Entry
}

func newLogWorld(t testing.TB, memory int, seed uint64) *logWorld {
	const first = 100 // what was before is removed
	w := &logWorld{
		t: t, rng: rand.New(rand.NewPCG(seed, 2)), now: 1, store: &heapStore{}, memory: memory,
		topology: seed%2 == 1, first: first, main: make([]record, first), kept: map[string]*keeping{},
	}
	w.topic = NewLoggedTopic(w.config(), w.state, first, first, 0, nil)
	return w
}

func (w *logWorld) config() Config {
	return Config{Name: "t", Store: w.store, MemoryMessages: w.memory, Extent: func() uint64 {
		w.next += IDExtent
		return w.next
	}}
}

// stage stages n messages; write, and then commit or rollback, must follow.
func (w *logWorld) stage(n, size int) {
	bodies := make([][]byte, n)
	for i := range bodies {
		bodies[i] = binary.BigEndian.AppendUint64(make([]byte, 0, size+8), uint64(w.made))
		bodies[i] = bodies[i][:8+size]
		w.made++
	}
	w.topic.Stage(bodies, w.now)
}

// write appends what is staged to the log.
func (w *logWorld) write() {
	for _, p := range w.topic.Staged(nil) {
		if p.Position != uint64(len(w.main)) {
			w.t.Fatalf("a piece for position %d, the log ends at %d", p.Position, len(w.main))
		}
		n := 0
		for _, frames := range p.Frames {
			for len(frames) > 0 {
				size := 4 + binary.BigEndian.Uint32(frames)
				frame := slices.Clone(frames[:size])
				if id := idOf(frame); id != p.FirstID+uint64(n) {
					w.t.Fatalf("ID %x in a piece that says %x", id, p.FirstID+uint64(n))
				}
				w.main = append(w.main, record{frame: frame, number: numberOf(frame)})
				frames = frames[size:]
				n++
			}
		}
		if n != p.Messages {
			w.t.Fatalf("%d messages in a piece that says %d", n, p.Messages)
		}
	}
}

func (w *logWorld) commit() { w.topic.Commit() }

func (w *logWorld) rollback() {
	w.topic.Rollback()
	w.main = w.main[:w.topic.End()]
}

func (w *logWorld) publish(n, size int) {
	w.stage(n, size)
	w.write()
	w.commit()
}

// numberOf is the number in the body of a frame.
func numberOf(frame []byte) int {
	return int(binary.BigEndian.Uint64(frame[protocol.MessageOverhead:]))
}

// block publishes n messages that fill a block of their own.
func (w *logWorld) block(n int) {
	w.publish(n, 100)
	w.topic.Idle()
}

func (w *logWorld) deferred(delay int64) {
	id, body := w.topic.DeferID(), binary.BigEndian.AppendUint64(nil, uint64(w.made))
	frame := protocol.AppendMessage(nil, w.now, 0, id, body)
	place := Side | uint64(len(w.side))
	w.side = append(w.side, record{frame: frame, number: w.made, due: w.now + delay})
	w.made++
	w.topic.Deferred(id, place, len(body), w.now+delay, w.now)
}

// record returns the message at a place.
func (w *logWorld) record(place uint64) *record {
	if place&Side != 0 {
		return &w.side[place&^Side]
	}
	return &w.main[place]
}

// work does up to n things on disk.
func (w *logWorld) work(n int) {
	for ; n > 0; n-- {
		job, ok := w.topic.Work()
		if !ok {
			return
		}
		w.read(job)()
	}
}

// read does a piece of work on disk, and returns what tells the topic.
func (w *logWorld) read(job Work) (done func()) {
	if job.Kind == Fetch {
		places := job.Places()
		frames := make([][]byte, 1+w.rng.IntN(len(places)))
		for i := range frames {
			frames[i] = slices.Clone(w.record(places[i]).frame)
		}
		return func() { w.topic.Fetched(job, frames) }
	}
	w.loads++
	pos := max(job.Position, w.first)
	for pos < uint64(len(w.main)) && w.main[pos].frame == nil {
		pos++
	}
	var frames []byte
	most := 1 + w.rng.IntN(20<<10)
	for i := pos; i < uint64(len(w.main)); i++ {
		f := w.main[i].frame
		if f == nil || i > pos && (len(frames)+len(f) > most || idOf(f) != idOf(w.main[pos].frame)+i-pos) {
			break
		}
		frames = append(frames, f...)
	}
	if frames == nil {
		return func() { w.topic.Loaded(job, nil, pos) }
	}
	return func() {
		b := w.store.Block(len(frames))
		if err := b.Load(frames); err != nil {
			w.t.Fatal(err)
		}
		w.topic.Loaded(job, b, pos)
	}
}

// keep writes down how far a channel has come, and checks that what is written
// bit by bit is what there is.
func (w *logWorld) keep(c *Channel) {
	if protocol.Ephemeral(c.Name()) {
		return
	}
	k := w.kept[c.Name()]
	if k == nil {
		k = &keeping{entries: map[uint64]Entry{}}
		w.kept[c.Name()] = k
	}
	c.Progress(&k.progress)
	if k.progress.Reset {
		clear(k.entries)
	}
	k.apply()
	k.progress.Open = slices.Clone(k.progress.Open)
	var whole Progress
	c.Snapshot(&whole)
	all := &keeping{progress: whole, entries: map[uint64]Entry{}}
	all.apply()
	if !maps.EqualFunc(k.entries, all.entries, func(a, b Entry) bool { return w.timeless(a) == w.timeless(b) }) {
		w.t.Fatalf("channel %s: of its parked messages is written %v, and there are %v", c.Name(), k.entries, all.entries)
	}
}

// timeless is an entry without the difference between what was due and what was
// in line at once.
func (w *logWorld) timeless(e Entry) Entry {
	if e.State == Waiting && e.Due <= w.now {
		e.Due = 0
	}
	return e
}

func (k *keeping) apply() {
	for _, c := range k.progress.Changes {
		if delete(k.entries, c.ID); !c.Gone {
			k.entries[c.ID] = c.Entry
		}
	}
	k.progress.Changes = nil
}

// settled writes down what is written at once when an operator changes the
// topic.
func (w *logWorld) settled() { w.state = w.topic.LogState() }

// crash throws the topic away and makes it anew from what is on disk.
func (w *logWorld) crash() {
	old := w.topic
	w.store = &heapStore{tight: w.store.tight, parkedLimit: w.store.parkedLimit}
	var durable []*Channel
	for _, c := range old.Channels() {
		if !protocol.Ephemeral(c.Name()) {
			durable = append(durable, c)
		}
	}
	if len(durable) == 0 && w.state.Paused {
		w.state.Base = max(w.state.Base, w.state.PausedAt) // what was before went with the last channel
	}
	var waiting []Entry
	if len(durable) == 0 || w.state.Paused {
		waiting = w.publishes(w.state.BaseSide, uint64(len(w.side)))
	}
	w.topic = NewLoggedTopic(w.config(), w.state, w.first, uint64(len(w.main)), uint64(len(w.side)), waiting)
	for _, c := range durable {
		w.resume(c.Name(), c.CurrentPause(), c.MaxAttempts())
	}
	w.settled()
}

// resume opens a channel where it was when it was last written down.
func (w *logWorld) resume(name string, pause *Pause, maxAttempts int) {
	k := w.kept[name]
	entries := slices.Collect(maps.Values(k.entries))
	for _, r := range k.progress.Open {
		for pos := r.From; pos < r.To; pos++ {
			if f := w.main[pos].frame; f != nil {
				entries = append(entries, Entry{ID: idOf(f), Place: pos, Attempts: 1})
			}
		}
	}
	slices.SortFunc(entries, func(a, b Entry) int { return int(int64(a.ID - b.ID)) })
	c := w.topic.ResumeChannel(name, pause, k.progress.Cursor, slices.Values(entries))
	c.SetMaxAttempts(maxAttempts)
	to := uint64(len(w.side))
	if w.state.Paused {
		to = w.state.PausedSide
	}
	for _, e := range w.publishes(k.progress.Deferred, to) {
		c.TakeIn(e)
	}
}

// publishes are the deferred publishes in a part of the side log.
func (w *logWorld) publishes(from, to uint64) (all []Entry) {
	for pos := from; pos < to; pos++ {
		if r := w.side[pos]; !r.moved && r.frame != nil {
			all = append(all, Entry{ID: idOf(r.frame), Place: Side | pos, Due: r.due})
		}
	}
	return all
}

// trim removes the log before pos, and puts what is parked there elsewhere. All
// that is written behind is written before anything is removed.
func (w *logWorld) trim(pos uint64) (moved []int) {
	places := map[uint64]uint64{}
	w.topic.Parked(func(place uint64, movable bool) {
		if r := w.record(place); movable && place < pos && r.frame != nil && places[place] == 0 {
			places[place] = Side | uint64(len(w.side))
			w.side = append(w.side, record{frame: r.frame, number: r.number, moved: true})
			moved = append(moved, r.number)
		}
	})
	w.topic.MovedTo(places)
	for _, c := range w.topic.Channels() {
		w.keep(c)
	}
	w.cut(pos)
	return moved
}

// cut removes the log before pos.
func (w *logWorld) cut(pos uint64) {
	for w.first < pos {
		w.main[w.first].frame = nil
		w.first++
	}
	w.topic.Trimmed(w.first)
}

func (w *logWorld) audit() {
	w.t.Helper()
	if err := w.topic.Audit(); err != nil {
		w.t.Fatal(err)
	}
	auditLeft(w.t, w.topic, w.now)
}
