package load

import (
	"encoding/binary"
	"testing"

	"github.com/golang/snappy"

	"github.com/millrace-mq/millrace/protocol"
)

func TestAudit(t *testing.T) {
	first := func(n int) (tags []uint64) {
		for i := range n {
			tags = append(tags, tag(0, uint64(i)))
		}
		return tags
	}
	for _, c := range []struct {
		name      string
		published []int64
		consumers [][]uint64 // the tags each saw
		want      Audit
	}{
		{"all of a whole word", []int64{64}, [][]uint64{first(64)}, Audit{}},
		{"all of two producers by two consumers", []int64{1, 2}, [][]uint64{{tag(1, 1)}, {tag(0, 0), tag(1, 0)}}, Audit{}},
		{"nothing came", []int64{100}, [][]uint64{{}}, Audit{Lost: 100}},
		{"the last is missing", []int64{65}, [][]uint64{first(64)}, Audit{Lost: 1}},
		{"one in the middle is missing", []int64{70}, [][]uint64{append(first(64), first(70)[65:]...)}, Audit{Lost: 1}},
		{"twice to one consumer", []int64{2}, [][]uint64{append(first(2), 0)}, Audit{Duplicated: 1}},
		{"once to each of three consumers", []int64{1}, [][]uint64{{0}, {0}, {0}}, Audit{Duplicated: 2}},
		{"a loss and a duplicate do not cancel out", []int64{2}, [][]uint64{{0, 0}}, Audit{Lost: 1, Duplicated: 1}},
		{"beyond what was published", []int64{1}, [][]uint64{first(3)}, Audit{Strange: 2}},
		{"from no producer", []int64{1}, [][]uint64{{0, tag(7, 0), 0x6161616161616161}}, Audit{Strange: 2}},
	} {
		var tallies []*tally
		for _, tags := range c.consumers {
			tl := newTally(len(c.published))
			for _, tag := range tags {
				tl.add(tag)
			}
			tallies = append(tallies, tl)
		}
		if got := audit(c.published, tallies); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		} else if (got.Err() == nil) != (c.want == Audit{}) {
			t.Errorf("%s: error %v", c.name, got.Err())
		}
	}
}

// What a ring stamps must be commands that a broker takes, with tags in order.
func TestRingIsCommands(t *testing.T) {
	for _, batch := range []int{1, 3} {
		r := newRing("orders", batch, 20, 4)
		next := tag(5, 100)
		for wire := r.stamp(1, 2, next); len(wire) > 0; {
			line := "PUB orders\n"
			if batch > 1 {
				line = "MPUB orders\n"
			}
			if string(wire[:len(line)]) != line {
				t.Fatalf("command begins %q", wire[:len(line)])
			}
			body, rest := protocol.Next(wire[len(line):])
			wire = rest
			if batch == 1 {
				if got := binary.BigEndian.Uint64(body); got != next || len(body) != 20 {
					t.Fatalf("tag %x of %d bytes, want %x", got, len(body), next)
				}
				next++
				continue
			}
			if n, _, err := protocol.CheckBatch(body, 100, 1000); err != nil || n != batch {
				t.Fatalf("batch of %d: %v", n, err)
			}
			for messages := body[4:]; len(messages) > 0; next++ {
				body, messages = protocol.Next(messages)
				if got := binary.BigEndian.Uint64(body); got != next || len(body) != 20 {
					t.Fatalf("tag %x of %d bytes, want %x", got, len(body), next)
				}
			}
		}
		if next != tag(5, 100+2*uint64(batch)) {
			t.Fatalf("batches of %d: ended at tag %x", batch, next)
		}
	}
}

// Bodies compress as JSON does: by a good deal, and not to nothing.
func TestBodiesCompress(t *testing.T) {
	r := newRing("orders", 200, 200, 4)
	if n := len(snappy.Encode(nil, r.buf)); n < len(r.buf)/3 || n > 2*len(r.buf)/3 {
		t.Errorf("Snappy makes %d bytes of %d", n, len(r.buf))
	}
}
