package takeover_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/millrace-mq/millrace/qd/takeover"
)

// file is a data file without metadata, so that all in it is unread.
type file struct {
	dir   string
	text  []byte
	at    []int // where the records begin, and the end
	wants []takeover.Message
}

const firstFile = "t.diskqueue.000000.dat"

func newFile(t *testing.T, k kind, n int) *file {
	f := &file{dir: t.TempDir(), wants: k.make(n)}
	k.queue(t, f.dir, "t", n, 0, 1<<30)
	write(t, f.dir, "nsqd.dat", oneTopic)
	if err := os.Remove(filepath.Join(f.dir, "t.diskqueue.meta.dat")); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(f.dir, firstFile))
	if err != nil {
		t.Fatal(err)
	}
	f.text = text
	at := 0
	for _, m := range f.wants {
		f.at = append(f.at, at)
		at += 4 + len(encode(m))
	}
	f.at = append(f.at, at)
	if at != len(text) {
		t.Fatalf("the records take %d bytes, the file has %d", at, len(text))
	}
	return f
}

// read reads the file with another text.
func (f *file) read(t *testing.T, text []byte) ([]takeover.Message, takeover.Finding) {
	write(t, f.dir, firstFile, string(text))
	var all []takeover.Message
	found, err := find(t, f.dir).Read(t.Context(), "t", "", func(m takeover.Message) error {
		all = append(all, m)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	wantAll(t, text, all, found)
	return all, found
}

// wantAll checks that what came and what was reported make up the whole file.
func wantAll(t *testing.T, text []byte, all []takeover.Message, found takeover.Finding) {
	t.Helper()
	accounted := found.Lost
	rest := text
	for _, m := range all {
		accounted += 4 + int64(len(encode(m)))
		_, behind, ok := bytes.Cut(rest, encode(m))
		if !ok {
			t.Fatalf("message %s is not in the file, or not behind the one before", m.ID)
		}
		rest = behind
	}
	if accounted != int64(len(text)) {
		t.Errorf("messages and damage have %d bytes, the file %d: %+v", accounted, len(text), found)
	}
}

var kinds = map[string]kind{"dated": dated, "plain": plain}

// TestOneByte changes each byte of every record's length and ID, one after the
// other, in several ways. Nothing but that message may be missing, and it must
// not come with a body that is cut off.
func TestOneByte(t *testing.T) {
	for name, k := range kinds {
		t.Run(name, func(t *testing.T) {
			f := newFile(t, k, 12)
			for i := range f.wants {
				for _, place := range []int{0, 1, 2, 3, 14, 22, 29} {
					for _, flip := range []byte{0x01, 0x04, 0x10, 0x80, 0xff} {
						f.change(t, i, place, flip)
						if t.Failed() {
							t.Fatalf("record %d at %d, its byte %d xor %#x", i, f.at[i], place, flip)
						}
					}
				}
			}
		})
	}
}

// change changes a byte of the i-th record and checks what comes.
func (f *file) change(t *testing.T, i, place int, flip byte) {
	text := slices.Clone(f.text)
	text[f.at[i]+place] ^= flip
	got, found := f.read(t, text)
	want := slices.Clone(f.wants)
	if id := text[f.at[i]+place]; place >= 14 && bytes.IndexByte([]byte("0123456789abcdef"), id) >= 0 {
		want[i].ID[place-14] = id // another ID, but an ID: nobody can tell
		wantMessages(t, got, want)
		return
	}
	wantMessages(t, got, slices.Delete(want, i, i+1))
	damage := takeover.Damage{File: firstFile, From: int64(f.at[i]), To: int64(f.at[i+1])}
	if found.Damaged != 1 || !slices.Equal(found.Damage, []takeover.Damage{damage}) || found.Lost != damage.To-damage.From {
		t.Errorf("found %+v, not %+v", found, damage)
	}
}

// TestTorn cuts the last record off at each of its bytes.
func TestTorn(t *testing.T) {
	for name, k := range kinds {
		for n := 6; n <= 10; n++ { // as many kinds of bodies come last
			t.Run(name, func(t *testing.T) {
				f := newFile(t, k, n)
				for cut := f.at[n-1]; cut < len(f.text); cut++ {
					got, found := f.read(t, f.text[:cut])
					wantMessages(t, got, f.wants[:n-1])
					if lost := int64(cut - f.at[n-1]); found.Lost != lost {
						t.Errorf("%d bytes are lost, not %d", found.Lost, lost)
					}
					if t.Failed() {
						t.Fatalf("cut off at %d, record %d at %d", cut, n-1, f.at[n-1])
					}
				}
			})
		}
	}
}

// TestDamage damages more than a byte.
func TestDamage(t *testing.T) {
	const n = 40
	tests := map[string]struct {
		damage func(f *file, text []byte) []byte
		lost   []int // messages
		places int   // damaged stretches
	}{
		"nothing":        {damage: func(_ *file, text []byte) []byte { return text }},
		"an empty file":  {damage: func(*file, []byte) []byte { return nil }, lost: upTo(n)},
		"all of it":      {damage: func(_ *file, text []byte) []byte { return bytes.Repeat([]byte{0xff}, len(text)) }, lost: upTo(n), places: 1},
		"all zeros":      {damage: func(_ *file, text []byte) []byte { return make([]byte, len(text)) }, lost: upTo(n), places: 1},
		"zeros behind":   {damage: func(_ *file, text []byte) []byte { return append(text, make([]byte, 5000)...) }, places: 1},
		"a few zeros":    {damage: func(_ *file, text []byte) []byte { return append(text, 0, 0, 0, 0, 0, 0) }, places: 1},
		"the first head": {damage: func(f *file, text []byte) []byte { clear(text[:20]); return text }, lost: []int{0}, places: 1},
		"the last head": {damage: func(f *file, text []byte) []byte {
			clear(text[f.at[n-1]:][:20])
			return text
		}, lost: []int{n - 1}, places: 1},
		"several records": {damage: func(f *file, text []byte) []byte {
			clear(text[f.at[10]+3 : f.at[14]+7])
			return text
		}, lost: []int{10, 11, 12, 13, 14}, places: 1},
		"lengths of every other record": {damage: func(f *file, text []byte) []byte {
			for i := 1; i < n; i += 2 {
				binary.BigEndian.PutUint32(text[f.at[i]:], 1<<31-1)
			}
			return text
		}, lost: []int{1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31, 33, 35, 37, 39}, places: 20},
		"a piece cut out": {damage: func(f *file, text []byte) []byte {
			return slices.Delete(text, f.at[13]+2, f.at[14]+5)
		}, lost: []int{13, 14}, places: 1},
		"a piece put in": {damage: func(f *file, text []byte) []byte {
			return slices.Insert(text, f.at[20], bytes.Repeat([]byte("something "), 50)...)
		}, places: 1},
		// Here 19 might as well be cut off by a changed byte of its length.
		"a small piece put in": {damage: func(f *file, text []byte) []byte {
			return slices.Insert(text, f.at[20], []byte("something")...)
		}, lost: []int{19}, places: 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFile(t, dated, n)
			got, found := f.read(t, test.damage(f, slices.Clone(f.text)))
			var want []takeover.Message
			for i, m := range f.wants {
				if !slices.Contains(test.lost, i) {
					want = append(want, m)
				}
			}
			wantMessages(t, got, want)
			if found.Damaged != test.places {
				t.Errorf("%d damaged stretches, not %d: %+v", found.Damaged, test.places, found.Damage)
			}
		})
	}
}

func upTo(n int) (all []int) {
	for i := range n {
		all = append(all, i)
	}
	return all
}

// TestDamagedFile damages one of several files, behind what was read.
func TestDamagedFile(t *testing.T) {
	dir := t.TempDir()
	kind(dated).queue(t, dir, "t:c", 200, 10, 4000)
	write(t, dir, "nsqd.dat", oneTopic)
	name := filepath.Join(dir, "t:c.diskqueue.000001.dat")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	text[0] = 0xff // the length of its first record
	write(t, dir, filepath.Base(name), string(text))
	got, found := read(t, dir, "t", "c")
	lost := 0
	for i, m := range kind(dated).make(200)[10:] {
		if i-lost >= len(got) || !same(got[i-lost], m) {
			lost++
		}
	}
	if lost != 1 || len(got) != 189 || found.Damaged != 1 || found.Damage[0].File != filepath.Base(name) || found.Damage[0].From != 0 {
		t.Errorf("%d of 190 messages came, %d are lost, found %+v", len(got), lost, found)
	}
	wantNote(t, found.Notes, "noted 190 messages, there are 189")
}

// TestUnreadable has something in the place of a data file that cannot be read.
func TestUnreadable(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "nsqd.dat", oneTopic)
	if err := os.Symlink("nowhere", filepath.Join(dir, firstFile)); err != nil {
		t.Fatal(err)
	}
	_, err := find(t, dir).Read(t.Context(), "t", "", func(takeover.Message) error { return nil })
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, not that there is no such file", err)
	}
}

// FuzzRead reads any data file: nothing comes that is not in it, in its order,
// and all the rest is reported as damaged.
func FuzzRead(f *testing.F) {
	for _, k := range kinds {
		var text []byte
		for i := range 6 {
			m := encode(k(i))
			text = append(binary.BigEndian.AppendUint32(text, uint32(len(m))), m...)
			f.Add(text[:len(text)-i])
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		write(t, dir, "nsqd.dat", oneTopic)
		(&file{dir: dir}).read(t, text)
	})
}
