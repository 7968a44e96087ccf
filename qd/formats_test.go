package qd_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd"
)

// A data folder of every earlier format is opened; testdata/formats says what is in
// them. All is there, also after this qd has written it down in its own way, and
// what is published next has an ID that nothing had before.
func TestEarlierFormats(t *testing.T) {
	archives, err := filepath.Glob("testdata/formats/v*/*.tgz")
	if err != nil || len(archives) < 14 {
		t.Fatalf("%d samples, %v", len(archives), err)
	}
	for _, archive := range archives {
		t.Run(strings.TrimPrefix(archive, "testdata/formats/"), func(t *testing.T) {
			t.Parallel()
			s := settings(t)
			s.StopTimeout = 10 * time.Millisecond
			unpack(t, archive, s.DataPath)
			want := expected(archive)
			for _, when := range []string{"opened", "opened again"} {
				d, stop := start(t, s)
				if got := figures(t, d); got != want {
					t.Errorf("%s, there is\n%s\nnot\n%s", when, got, want)
				}
				if err := stop(); err != nil {
					t.Fatal(err)
				}
			}
			d, stop := start(t, s)
			consumeAll(t, d, strings.Contains(archive, "takeover"))
			if err := stop(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// expected is what figures tells of a sample.
func expected(archive string) string {
	if strings.Contains(archive, "takeover") {
		return "old: 0\n one: 40 ready\n two: 40 ready, paused\n"
	}
	levels := []string{"disk", "fsync", "memory"}
	why := " because of a look by night shift"
	if strings.Contains(archive, "v1.0") {
		levels = levels[2:]
	}
	if strings.Contains(archive, "v1.0") || strings.Contains(archive, "v1.1") || strings.Contains(archive, "v1.2") {
		why = "" // was not kept
	}
	var b strings.Builder
	for _, level := range levels {
		lost := level == "memory" && strings.Contains(archive, "killed")
		state := func(ready, deferred, dead int) string {
			text := fmt.Sprintf("%d ready", ready)
			if deferred > 0 {
				text += fmt.Sprintf(", %d deferred", deferred)
			}
			if dead > 0 {
				text += fmt.Sprintf(", %d dead", dead)
			}
			if lost {
				text = "0 ready"
			}
			return text
		}
		fmt.Fprintf(&b, "%s: 0\n all: %s\n", level, state(40, 1, 0))
		if !strings.Contains(archive, "v1.0") {
			fmt.Fprintf(&b, " dead: %s\n", state(37, 1, 3))
		}
		fmt.Fprintf(&b, " held: %s, paused%s\n some: %s\n", state(40, 1, 0), why, state(29, 2, 0))
		waiting := 5
		if lost {
			waiting = 0
		}
		fmt.Fprintf(&b, "%s-paused: %d, paused%s\n c: 0 ready\n", level, waiting, why)
	}
	return b.String()
}

// stand is what /stats tells, as far as samples differ in it.
type stand struct {
	Topics []struct {
		Name     string `json:"topic_name"`
		Depth    int    `json:"depth"`
		Paused   bool   `json:"paused"`
		Pause    pause  `json:"pause"`
		Channels []struct {
			Name     string `json:"channel_name"`
			Depth    int    `json:"depth"`
			Deferred int    `json:"deferred_count"`
			Dead     int    `json:"dead_count"`
			Paused   bool   `json:"paused"`
			Pause    pause  `json:"pause"`
		} `json:"channels"`
	} `json:"topics"`
}

type pause struct{ Reason, By string }

func standing(t *testing.T, d *qd.Daemon) (s stand) {
	t.Helper()
	if err := json.Unmarshal(call(t, d, http.MethodGet, "/stats?format=json", nil), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func figures(t *testing.T, d *qd.Daemon) string {
	t.Helper()
	paused := func(paused bool, p pause) string {
		switch {
		case !paused:
			return ""
		case p == pause{}:
			return ", paused"
		}
		return fmt.Sprintf(", paused because of %s by %s", p.Reason, p.By)
	}
	var b strings.Builder
	for _, topic := range standing(t, d).Topics {
		fmt.Fprintf(&b, "%s: %d%s\n", topic.Name, topic.Depth, paused(topic.Paused, topic.Pause))
		for _, c := range topic.Channels {
			fmt.Fprintf(&b, " %s: %d ready", c.Name, c.Depth)
			if c.Deferred > 0 {
				fmt.Fprintf(&b, ", %d deferred", c.Deferred)
			}
			if c.Dead > 0 {
				fmt.Fprintf(&b, ", %d dead", c.Dead)
			}
			fmt.Fprintln(&b, paused(c.Paused, c.Pause))
		}
	}
	return b.String()
}

// consumeAll ends all pauses, revives what is dead, finishes everything, and then
// one message more of each topic. A topic has 40 messages, numbered in their bodies.
func consumeAll(t *testing.T, d *qd.Daemon, fromNSQD bool) {
	t.Helper()
	for _, topic := range standing(t, d).Topics {
		call(t, d, http.MethodPost, "/topic/unpause?topic="+topic.Name, nil)
		seen := make(map[protocol.MessageID]bool)
		var last protocol.MessageID
		for _, c := range topic.Channels {
			query := "?topic=" + topic.Name + "&channel=" + c.Name
			call(t, d, http.MethodPost, "/channel/unpause"+query, nil)
			if c.Dead > 0 {
				call(t, d, http.MethodPost, "/message/revive"+query+"&all=true", nil)
			}
			numbers := make(map[int]bool)
			messages := take(t, d, topic.Name, c.Name, topic.Depth+c.Depth+c.Dead)
			for _, m := range messages {
				numbers[numberOf(t, m, topic.Name)] = true
				seen[m.ID] = true
				if bytes.Compare(m.ID[:], last[:]) > 0 {
					last = m.ID
				}
			}
			if len(numbers) != len(messages) {
				t.Errorf("%s/%s: %d messages have come, and some twice: %v", topic.Name, c.Name, len(messages), numbers)
			}
			if c.Name == "some" && (numbers[0] || numbers[9] || numbers[11]) {
				t.Errorf("%s/%s: what was finished or deferred comes again", topic.Name, c.Name)
			}
		}
		if own := len(seen); fromNSQD && own != 80 || !fromNSQD && own > 40 {
			t.Errorf("%s has %d different IDs", topic.Name, own)
		}
		call(t, d, http.MethodPost, "/pub?topic="+topic.Name, strings.NewReader(topic.Name+" 50 new"))
		for _, c := range topic.Channels {
			if m := take(t, d, topic.Name, c.Name, 1)[0]; seen[m.ID] || bytes.Compare(m.ID[:], last[:]) <= 0 || numberOf(t, m, topic.Name) != 50 {
				t.Errorf("%s/%s: a new message has ID %s, which is not behind %s: %s", topic.Name, c.Name, m.ID, last, m.Body)
			}
		}
	}
}

func numberOf(t *testing.T, m protocol.Message, topic string) (n int) {
	t.Helper()
	if _, err := fmt.Sscanf(string(m.Body), topic+" %d ", &n); err != nil {
		t.Fatalf("%q: %v", m.Body, err)
	}
	return n
}

// take finishes count messages of a channel.
func take(t *testing.T, d *qd.Daemon, topic, channel string, count int) (messages []protocol.Message) {
	t.Helper()
	conn, err := net.Dial("tcp", d.TCPAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	c := &consumer{t, conn}
	c.say(protocol.AppendSub([]byte(protocol.MagicV2), topic, channel))
	if kind, data := c.frame(); kind != protocol.FrameResponse {
		t.Fatalf("SUB: %s %s", kind, data)
	}
	for range count {
		c.say(protocol.AppendRdy(nil, 1))
		m := c.message()
		m.Body = bytes.Clone(m.Body)
		messages = append(messages, m)
		c.say(protocol.AppendFin(nil, m.ID))
	}
	c.say(protocol.AppendCls(nil))
	for { // answered when all before it has been carried out
		if kind, data := c.frame(); kind == protocol.FrameResponse && string(data) == protocol.CloseWait {
			return messages
		}
	}
}

func call(t *testing.T, d *qd.Daemon, method, path string, body io.Reader) []byte {
	t.Helper()
	r, err := http.NewRequest(method, "http://"+d.HTTPAddr().String()+path, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Close = true
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s %s %v", method, path, answer.Status, text, err)
	}
	return text
}

// unpack puts a sample into dir.
func unpack(t *testing.T, archive, dir string) {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		path := filepath.Join(dir, filepath.FromSlash(h.Name))
		if err == nil && h.FileInfo().IsDir() {
			err = os.MkdirAll(path, 0o700)
		} else if err == nil {
			var text []byte
			if text, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(path, text, 0o600)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Whatever file a newer format is found in, qd says so in one line, and changes
// nothing, also where it would have had something to mend.
func TestNewerFormats(t *testing.T) {
	replace := func(old, new string) func([]byte) []byte {
		return func(b []byte) []byte { return bytes.Replace(b, []byte(old), []byte(new), 1) }
	}
	for name, test := range map[string]struct {
		sample, file string // a pattern; of several the last, so that others come before
		change       func([]byte) []byte
	}{
		"qd.json":         {"killed", "qd.json", replace(`"version": 1`, `"version": 2`)},
		"qd.json, new":    {"killed", "qd.json", func([]byte) []byte { return []byte(`{"version":7,"topics":{"a":1}}`) }},
		"topic.json":      {"killed", "topics/*/topic.json", replace(`"version": 1`, `"version": 2`)},
		"topic.json, new": {"killed", "topics/*/topic.json", func([]byte) []byte { return []byte(`{"version":2,"state":[]}`) }},
		"note":            {"takeover", "nsqd-taken-over.json", func([]byte) []byte { return []byte(`{"version":2,"folders":{}}`) }},
		"staged topic":    {"takeover", "topics/*/topic.json", replace(`"version": 1`, `"version": 2`)},
		"log":             {"killed", "topics/*/log/*.log", func(b []byte) []byte { return resealed(b, 0, 36) }},
		"record of a log": {"killed", "topics/*/log/*.log", func(b []byte) []byte { return resealed(b, 40, 84) }},
		"side log":        {"killed", "topics/*/side/*.log", func(b []byte) []byte { return resealed(b, 0, 36) }},
		"channel":         {"killed", "topics/*/acks/*", func(b []byte) []byte { b[4] = 2; b[16]++; return b }},
		"spill":           {"stopped", "spill/*/*.diskqueue.000000.dat", replace("MRS1", "MRS2")},
	} {
		t.Run(name, func(t *testing.T) {
			s := settings(t)
			unpack(t, "testdata/formats/v1.4/"+test.sample+".tgz", s.DataPath)
			files, err := filepath.Glob(filepath.Join(s.DataPath, test.file))
			if err != nil || len(files) == 0 {
				t.Fatalf("no %s, %v", test.file, err)
			}
			file := files[len(files)-1]
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, test.change(text), 0o600); err != nil {
				t.Fatal(err)
			}
			tear(t, s.DataPath)
			before := tree(t, s.DataPath)
			d, err := listen(s)
			if err == nil {
				t.Fatal("qd opens it", d)
			}
			for _, say := range []string{file, "unknown format version", "start the newer qd", "nothing has been changed"} {
				if !strings.Contains(err.Error(), say) {
					t.Errorf("the error does not say %q: %v", say, err)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than a line: %v", err)
			}
			if after := tree(t, s.DataPath); !slices.Equal(before, after) {
				t.Errorf("there was\n%s\nand is\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
			}
		})
	}
}

// tear leaves something to mend in the first topic: a torn end, and a copy that was
// being made.
func tear(t *testing.T, dir string) {
	t.Helper()
	logs, _ := filepath.Glob(filepath.Join(dir, "topics/*/log/*.log"))
	if len(logs) == 0 {
		return
	}
	text, err := os.ReadFile(logs[0])
	if err == nil {
		err = os.WriteFile(logs[0], append(bytes.TrimRight(text, "\x00"), "torn"...), 0o600)
	}
	if err == nil {
		err = os.WriteFile(logs[0]+".new", text[:10], 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// resealed makes the header at a place one of version 2, under a CRC that is right.
func resealed(b []byte, at, crc int) []byte {
	b[at+4] = 2
	sum := crc32.Checksum(b[at:at+crc], crc32.MakeTable(crc32.Castagnoli))
	binary.LittleEndian.PutUint32(b[at+crc:], sum)
	return b
}

// tree lists all there is below dir, and what it holds.
func tree(t *testing.T, dir string) (list []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			list = append(list, path)
			return err
		}
		text, err := os.ReadFile(path)
		list = append(list, fmt.Sprintf("%s %x", path, sha256.Sum256(text)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func listen(s qd.Settings) (*qd.Daemon, error) {
	return qd.Listen(s, slog.New(slog.DiscardHandler), nil)
}
