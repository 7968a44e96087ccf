package e2e

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// archiving is a run: lines are published all the time, to_file is killed at a
// random moment, started again, and so on; then everything is drained, and what is
// in the files compared with what was published.
type archiving struct {
	kills int
	seed  uint64
	flags []string
	apart bool // the files are written in a work-dir
}

// ways are the ways of keeping files that a kill might hurt.
var ways = map[string]archiving{
	"plain, one file":                      {},
	"plain, moved":                         {apart: true, flags: []string{"--rotate-size=300000"}},
	"gzip, in place":                       {flags: []string{"--gzip", "--rotate-size=300000"}},
	"gzip, moved, with sidecars":           {apart: true, flags: []string{"--gzip", "--gzip-level=1", "--rotate-size=300000", "--sidecar"}},
	"zstd, moved":                          {apart: true, flags: []string{"--zstd", "--rotate-size=300000"}},
	"JSON, zstd, in place, with sidecars":  {flags: []string{"--format=json", "--zstd", "--rotate-size=500000", "--sidecar"}},
	"length-prefixed, moved":               {apart: true, flags: []string{"--format=length-prefixed", "--rotate-size=300000"}},
	"length-prefixed, gzip, one file only": {flags: []string{"--format=length-prefixed", "--gzip"}},
}

func TestArchiveKilled(t *testing.T) {
	for name, a := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a.kills, a.seed = 5, rand.Uint64()
			a.run(t)
		})
	}
}

// Fifty kills of each, and more for as many minutes as SOAK says.
func TestSoakArchiveKilled(t *testing.T) {
	end := time.Now().Add(soaking(t))
	for n := 0; n == 0 || time.Now().Before(end); n++ {
		for name, a := range ways {
			a.kills, a.seed = 50, rand.Uint64()
			if !t.Run(name, a.run) {
				return
			}
		}
	}
}

func (a archiving) run(t *testing.T) {
	d := newDaemon(t)
	d.start(t)
	d.post(t, "/topic/create?topic=lines", "")
	d.post(t, "/channel/create?topic=lines&channel=to_file", "")
	var published atomic.Int64
	stop := inBackground(t, []func(context.Context){func(ctx context.Context) { a.publish(ctx, d, &published) }})
	out := filepath.Join(t.TempDir(), "out")
	work := out
	args := append([]string{"--topic=lines", "--qd-tcp-address=" + d.tcp, "--output-dir=" + out, "--filename-format=<TOPIC><REV>.log"}, a.flags...)
	if a.apart {
		work = filepath.Join(t.TempDir(), "work")
		args = append(args, "--work-dir="+work)
	}
	toFile := start(t, nil, "to_file", args...)
	random := rand.New(rand.NewPCG(a.seed, 0))
	for range a.kills {
		pause(t.Context(), time.Duration(5+random.IntN(400))*time.Millisecond)
		toFile.signal(syscall.SIGKILL)
		<-toFile.exited
		toFile = start(t, nil, "to_file", args...)
	}
	stop()
	eventually(t, "the channel to be drained", func() bool { return d.drained("lines", "to_file") })
	toFile.stop(syscall.SIGTERM)
	a.audit(t, out, work, int(published.Load()))
	if t.Failed() {
		t.Logf("seed %d", a.seed)
	}
}

// publish publishes lines of many lengths until ctx ends; all that count are stored.
func (a archiving) publish(ctx context.Context, d daemon, published *atomic.Int64) {
	random := rand.New(rand.NewPCG(a.seed, 1))
	for ctx.Err() == nil {
		first := int(published.Load())
		var body strings.Builder
		n := 1 + random.IntN(300)
		for i := range n {
			body.WriteString(numbered(first+i) + "\n")
		}
		r, err := client.Post("http://"+d.http+"/mpub?topic=lines", "", strings.NewReader(body.String()))
		if err != nil {
			panic(err) // nobody stops qd
		}
		r.Body.Close()
		if r.StatusCode != http.StatusOK {
			panic(r.Status)
		}
		published.Add(int64(n))
		pause(ctx, time.Duration(random.IntN(8))*time.Millisecond)
	}
}

// numbered is line number n. Each is different in every part, so that one which
// is torn, or two that are glued, are none.
func numbered(n int) string {
	return fmt.Sprintf("%d %s %d", n, strings.Repeat(fmt.Sprint(n%10), n*7919%200), n)
}

// audit wants every line to be there, nothing that is none, and each file to be
// whole, and counted right by its sidecar.
func (a archiving) audit(t *testing.T, out, work string, published int) {
	seen := make([]int, published)
	archives := 0
	all := func(dir string, each func(path string)) {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				each(path)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	all(out, func(path string) {
		if strings.HasSuffix(path, ".json") {
			return
		}
		archives++
		records := 0
		if err := a.read(path, func(line string) {
			records++
			var n int
			if _, err := fmt.Sscan(line, &n); err != nil || n < 0 || n >= published || line != numbered(n) {
				t.Errorf("%s has something that was not published: %.100q", path, line)
				return
			}
			seen[n]++
		}); err != nil {
			t.Errorf("%s is not whole: %v", path, err)
		}
		a.compare(t, path, records)
	})
	if a.apart {
		all(work, func(path string) { t.Errorf("%s was left behind", path) })
	}
	missing, twice := 0, 0
	for _, n := range seen {
		switch {
		case n == 0:
			missing++
		case n > 1:
			twice++
		}
	}
	t.Logf("%d lines in %d files after %d kills; %d are there more than once", published, archives, a.kills, twice)
	if missing > 0 || published < 100*a.kills {
		t.Errorf("of %d lines %d are in no file", published, missing)
	}
}

// read reads back what is in a file.
func (a archiving) read(path string, each func(line string)) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var r io.Reader = f
	switch filepath.Ext(path) {
	case ".gz":
		r, err = gzip.NewReader(f)
	case ".zst":
		r, err = zstd.NewReader(f)
	}
	if err != nil {
		return err
	}
	in := bufio.NewReader(r)
	next := rawLine
	switch flags := strings.Join(a.flags, " "); {
	case strings.Contains(flags, "json"):
		next = jsonLine
	case strings.Contains(flags, "length"):
		next = prefixedLine
	}
	for {
		line, err := next(in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		each(line)
	}
}

func rawLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if errors.Is(err, io.EOF) && line != "" {
		return "", fmt.Errorf("the last line has no end: %.100q", line)
	}
	return strings.TrimSuffix(line, "\n"), err
}

func jsonLine(r *bufio.Reader) (string, error) {
	line, err := rawLine(r)
	if err != nil {
		return "", err
	}
	var record struct {
		ID, Topic, Body string
		Body64          string `json:"body_base64"`
		Timestamp       int64
		Attempts        int
	}
	if err := json.Unmarshal([]byte(line), &record); err != nil {
		return "", err
	}
	if len(record.ID) != 16 || record.Topic != "lines" || record.Timestamp == 0 || record.Attempts == 0 {
		return "", fmt.Errorf("an incomplete object: %.200s", line)
	}
	body, err := base64.StdEncoding.DecodeString(record.Body64)
	return record.Body + string(body), err
}

func prefixedLine(r *bufio.Reader) (string, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return "", err // io.EOF if there is nothing
	}
	body := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(r, body); err != nil {
		return "", errors.New("the last record is torn")
	}
	return string(body), nil
}

// compare compares a sidecar, where there should be one, with the file.
func (a archiving) compare(t *testing.T, path string, records int) {
	if !strings.Contains(strings.Join(a.flags, " "), "sidecar") {
		return
	}
	text, err := os.ReadFile(path + ".json")
	if err != nil {
		t.Error(err)
		return
	}
	var sidecar struct{ Lines int }
	if err := json.Unmarshal(text, &sidecar); err != nil || sidecar.Lines != records {
		t.Errorf("%s has %d messages, its sidecar says %s (%v)", path, records, text, err)
	}
}
