package takeover_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/qd/takeover"
)

func TestFind(t *testing.T) {
	topics := []takeover.Topic{{Name: "t", Channels: []takeover.Channel{{Name: "c", Paused: true}}}}
	tests := map[string]struct {
		files map[string]string
		want  []takeover.Topic
		notes []string
		none  bool   // nothing is found
		err   string // part of it
	}{
		"an empty directory":       {none: true},
		"queues without nsqd.dat":  {files: map[string]string{firstFile: ""}, none: true},
		"nsqd 1":                   {files: map[string]string{"nsqd.dat": oneTopic}, want: topics},
		"a number for the version": {files: map[string]string{"nsqd.dat": strings.ReplaceAll(oneTopic, `"1.3.0"`, "1")}, want: topics},
		"no topics":                {files: map[string]string{"nsqd.dat": `{"topics":null,"version":"1.3.0"}`}},
		"an old name":              {files: map[string]string{"nsqd.512.dat": oneTopic}, want: topics},
		"two old names":            {files: map[string]string{"nsqd.1.dat": oneTopic, "nsqd.2.dat": oneTopic}, want: topics, notes: []string{"nsqd.1.dat is not used"}},
		"an old name beside": {
			files: map[string]string{"nsqd.dat": oneTopic, "nsqd.512.dat": "{}"},
			want:  topics, notes: []string{"nsqd.512.dat is not used"},
		},
		"two old names at odds":  {files: map[string]string{"nsqd.1.dat": oneTopic, "nsqd.2.dat": "{}"}, err: "nsqd.1.dat and nsqd.2.dat differ"},
		"an unfinished nsqd.dat": {files: map[string]string{"nsqd.dat.123.tmp": oneTopic}, none: true},
		"an empty nsqd.dat":      {files: map[string]string{"nsqd.dat": ""}, err: "understanding"},
		"a torn nsqd.dat":        {files: map[string]string{"nsqd.dat": oneTopic[:40]}, err: "understanding"},
		"null":                   {files: map[string]string{"nsqd.dat": "null"}, err: "null"},
		"names": {
			files: map[string]string{"nsqd.dat": `{"topics":[
				{"name":"a b"}, {"name":"e#ephemeral"}, {"name":"ok","paused":true,"channels":[
					{"name":"../x"}, {"name":"e#ephemeral"}, {"name":"c"}, {"name":"c","paused":true}]},
				{"name":"ok","channels":[{"name":"d"}]}]}`},
			want: []takeover.Topic{{Name: "ok", Paused: true, Channels: []takeover.Channel{
				{Name: "c", Paused: true}, {Name: "d"},
			}}},
			notes: []string{`"a b" is not a valid topic`, `"../x" is not a valid channel`},
		},
		"files that nothing leads to": {
			files: map[string]string{
				"nsqd.dat": oneTopic, firstFile: "", "t:c.diskqueue.meta.dat": "", "t:gone.diskqueue.000003.dat": "x",
				"t:gone.diskqueue.000004.dat": "x", "u.diskqueue.meta.dat": "", "t.diskqueue.000007.dat.bad": "x", "qd.json": "{}",
			},
			want: topics, notes: []string{"queue t:gone: no topic or channel is called so; its 2 files", "000007.dat.bad"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range test.files {
				write(t, dir, name, text)
			}
			s, err := takeover.Find(dir)
			switch {
			case test.err != "":
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("error %v, not about %q", err, test.err)
				}
			case err != nil:
				t.Error(err)
			case test.none:
				if s != nil {
					t.Errorf("found %+v", s)
				}
			case s == nil:
				t.Error("nothing is found")
			default:
				if got := s.Topics(); len(got)+len(test.want) > 0 && !reflect.DeepEqual(got, test.want) {
					t.Errorf("topics %+v, not %+v", got, test.want)
				}
				wantNote(t, s.Notes(), test.notes...)
			}
		})
	}
}

// TestOldLink has the link that nsqd 1.0 made for those that wanted to go back.
func TestOldLink(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "nsqd.dat", oneTopic)
	if err := os.Symlink(filepath.Join(dir, "nsqd.dat"), filepath.Join(dir, "nsqd.5.dat")); err != nil {
		t.Fatal(err)
	}
	if topics := find(t, dir).Topics(); len(topics) != 1 {
		t.Errorf("topics %v", topics)
	}
	if err := find(t, dir).SetAside(); err != nil {
		t.Fatal(err)
	}
	if s, err := takeover.Find(dir); s != nil || err != nil {
		t.Errorf("the link alone leads to %v, %v", s, err)
	}
}

// TestNoDirectory looks in a directory that does not exist.
func TestNoDirectory(t *testing.T) {
	if _, err := takeover.Find(filepath.Join(t.TempDir(), "no")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, not that it does not exist", err)
	}
}

// TestRead reads queues of one file and of many, read before by nsqd or not.
func TestRead(t *testing.T) {
	const n = 300
	for _, queue := range []struct{ name, topic, channel string }{{"t", "t", ""}, {"t:c", "t", "c"}, {"a.diskqueue.000000.dat", "a.diskqueue.000000.dat", ""}} {
		for _, fileBytes := range []int64{1500, 10_000, 1 << 30} {
			for _, consumed := range []int{0, 1, 2, 150, n - 1, n} {
				t.Run(fmt.Sprintf("%s, files of %d bytes, %d consumed", queue.name, fileBytes, consumed), func(t *testing.T) {
					dir := filepath.Join(t.TempDir(), "100%d")
					if err := os.Mkdir(dir, 0o700); err != nil {
						t.Fatal(err)
					}
					// go-diskqueue formats its data path.
					kind(dated).queue(t, strings.ReplaceAll(dir, "%", "%%"), queue.name, n, consumed, fileBytes)
					kind(plain).queue(t, strings.ReplaceAll(dir, "%", "%%"), queue.name+"c", 5, 0, fileBytes)
					write(t, dir, "nsqd.dat", oneTopic)
					got, found := read(t, dir, queue.topic, queue.channel)
					wantMessages(t, got, kind(dated).make(n)[consumed:])
					if found.Depth != int64(n-consumed) || found.Damaged != 0 || len(found.Notes) != 0 {
						t.Errorf("found %+v", found)
					}
				})
			}
		}
	}
}

// TestNothing reads queues that have nothing.
func TestNothing(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "nsqd.dat", oneTopic)
	write(t, dir, "t:c.diskqueue.meta.dat", "0\n3,0\n3,0\n")
	for channel, depth := range map[string]int64{"": -1, "c": 0} {
		if got, found := read(t, dir, "t", channel); len(got) > 0 || found.Depth != depth || len(found.Notes) > 0 {
			t.Errorf("channel %q: %d messages, found %+v", channel, len(got), found)
		}
	}
}

// TestPositions reads a queue of several files whose metadata says something
// else than what is there.
func TestPositions(t *testing.T) {
	const n = 100
	tests := map[string]struct {
		meta  string // "" for none
		first int    // message
		notes []string
	}{
		"none":                       {},
		"empty":                      {meta: " ", notes: []string{"illegible"}},
		"garbage":                    {meta: "\x00\x00\x00\x00\x00\x00\x00\x00\x00", notes: []string{"illegible"}},
		"cut off":                    {meta: "100\n0,0\n5", notes: []string{"illegible"}},
		"negative":                   {meta: "100\n0,-5\n5,0\n", notes: []string{"illegible"}},
		"reading is ahead":           {meta: "100\n7,0\n5,0\n", notes: []string{"illegible"}},
		"the depth is too small":     {meta: "90\n0,0\n9,0\n", notes: []string{"noted 90 messages, there are 100"}},
		"the end is wrong":           {meta: "100\n0,0\n0,0\n"},
		"behind the first message":   {meta: "99\n0,60\n9,0\n", first: 1},
		"within the first message":   {meta: "99\n0,59\n9,0\n", notes: []string{"no message begins at 59", "noted 99"}},
		"behind the end of the file": {meta: "100\n0,99999\n9,0\n", notes: []string{"no message begins at 99999"}},
		"behind the files": {meta: "100\n9,0\n9,0\n", notes: []string{
			"000000.dat: nsqd noted that it had read", "000001.dat", "000002.dat", "000003.dat",
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			kind(dated).queue(t, dir, "t", n, 0, 4000)
			if files, err := filepath.Glob(filepath.Join(dir, "t.diskqueue.0*.dat")); len(files) != 4 || err != nil {
				t.Fatal(files, err)
			}
			write(t, dir, "nsqd.dat", oneTopic)
			write(t, dir, "t.diskqueue.meta.dat", test.meta)
			if test.meta == "" {
				if err := os.Remove(filepath.Join(dir, "t.diskqueue.meta.dat")); err != nil {
					t.Fatal(err)
				}
			}
			got, found := read(t, dir, "t", "")
			wantMessages(t, got, kind(dated).make(n)[test.first:])
			wantNote(t, found.Notes, test.notes...)
		})
	}
}

// TestCrashOfNsqd reads what nsqd had written but not noted when it was killed.
func TestCrashOfNsqd(t *testing.T) {
	dir := t.TempDir()
	kind(dated).queue(t, dir, "t", 20, 5, 1<<30)
	write(t, dir, "nsqd.dat", oneTopic)
	name := filepath.Join(dir, firstFile)
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := 20; i < 25; i++ {
		m := encode(dated(i))
		text = append(binary.BigEndian.AppendUint32(text, uint32(len(m))), m...)
	}
	write(t, dir, firstFile, string(text))
	got, found := read(t, dir, "t", "")
	wantMessages(t, got, kind(dated).make(25)[5:])
	wantNote(t, found.Notes, "noted 15 messages, there are 20")
}

// TestLinkedFile reads a data file that somebody has put elsewhere.
func TestLinkedFile(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	kind(dated).queue(t, dir, "t", 10, 0, 1<<30)
	write(t, dir, "nsqd.dat", oneTopic)
	if err := os.Rename(filepath.Join(dir, firstFile), filepath.Join(other, "file")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(other, "file"), filepath.Join(dir, firstFile)); err != nil {
		t.Fatal(err)
	}
	before := contents(t, other)
	got, _ := read(t, dir, "t", "")
	wantMessages(t, got, kind(dated).make(10))
	if !maps.Equal(before, contents(t, other)) {
		t.Error("the file has changed")
	}
}

// TestStop stops reading in the middle.
func TestStop(t *testing.T) {
	errStop := errors.New("enough")
	for _, want := range []error{errStop, context.Canceled} {
		t.Run(want.Error(), func(t *testing.T) {
			dir := t.TempDir()
			kind(dated).queue(t, dir, "t", 1000, 0, 10_000)
			write(t, dir, "nsqd.dat", oneTopic)
			before := contents(t, dir)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			seen := 0
			_, err := find(t, dir).Read(ctx, "t", "", func(takeover.Message) error {
				if seen++; seen < 100 {
					return nil
				}
				if want == errStop {
					return errStop
				}
				cancel()
				return nil
			})
			if !errors.Is(err, want) || seen == 1000 {
				t.Errorf("%d messages, error %v", seen, err)
			}
			if !maps.Equal(before, contents(t, dir)) {
				t.Error("the directory has changed")
			}
		})
	}
}

// TestInterrupted finds what a reading that was killed has left.
func TestInterrupted(t *testing.T) {
	dir := t.TempDir()
	kind(dated).queue(t, dir, "t", 10, 0, 1<<30)
	write(t, dir, "nsqd.dat", oneTopic)
	before := contents(t, dir)
	scratch := filepath.Join(dir, "nsqd-takeover-123.scratch")
	if err := errors.Join(os.Mkdir(scratch, 0o700), os.Link(filepath.Join(dir, firstFile), filepath.Join(scratch, firstFile))); err != nil {
		t.Fatal(err)
	}
	find(t, dir)
	if after := contents(t, dir); !maps.Equal(before, after) {
		t.Errorf("there is %q", slices.Sorted(maps.Keys(after)))
	}
}

// TestMany counts damaged stretches beyond those that are listed.
func TestMany(t *testing.T) {
	f := newFile(t, dated, 500)
	text := slices.Clone(f.text)
	for i := 0; i < 500; i += 2 {
		text[f.at[i]] = 0xff
	}
	got, found := f.read(t, text)
	if len(got) != 250 || found.Damaged != 250 || len(found.Damage) != 100 {
		t.Errorf("%d messages, %d damaged stretches, %d listed", len(got), found.Damaged, len(found.Damage))
	}
}
