package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// unwritten is how long before a kill something may have been answered that the audit file
// does not have: lines are written at once, by another thread, which takes well below a
// millisecond unless the machine is busy.
const unwritten = time.Second

// TestAuditLogAfterAKill changes many things at once and kills qd in the midst of it. The
// file has all that was answered before the last moment, each line whole; the next start
// goes on with it.
func TestAuditLogAfterAKill(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit.jsonl")
	d := newDaemon(t, "--audit-file="+file)
	p := d.start(t)

	var mu sync.Mutex
	answered := make(map[string]time.Time) // topics, over HTTP
	enough := make(chan struct{})
	var working sync.WaitGroup
	for worker := range 4 {
		working.Go(func() {
			for n := 0; ; n++ {
				topic := fmt.Sprintf("t%d.%d", worker, n)
				r, err := http.Post("http://"+d.http+"/topic/create?topic="+topic, "", nil)
				if err != nil {
					return // it is killed
				}
				_, _ = io.Copy(io.Discard, r.Body)
				if r.Body.Close(); r.StatusCode != http.StatusOK {
					continue
				}
				mu.Lock()
				answered[topic] = time.Now()
				if len(answered) == 300 {
					close(enough)
				}
				mu.Unlock()
			}
		})
	}
	<-enough
	killed := time.Now()
	p.signal(syscall.SIGKILL)
	p.wait(patience)
	working.Wait()

	there := audited(t, file, false)
	var latest time.Duration // how long before the kill the oldest was answered that is missing
	missing := 0
	for topic, at := range answered {
		if _, ok := there["create-topic "+topic]; !ok {
			missing++
			latest = max(latest, killed.Sub(at))
		}
	}
	t.Logf("%d answered, %d of them not in the file, the oldest answered %v before the kill", len(answered), missing, latest)
	if latest > unwritten {
		t.Errorf("something is missing that was answered %v before the kill", latest)
	}

	p = d.start(t)
	p.stop(syscall.SIGTERM)
	if there := audited(t, file, true); there["start "] != 2 || there["stop "] != 1 {
		t.Errorf("%d starts and %d ends are in the file", there["start "], there["stop "])
	}
}

// audited counts the entries in an audit file by action and topic. Only what a kill has
// left may be torn: the last line or, if the daemon was started again, one in the midst.
func audited(t *testing.T, file string, again bool) map[string]int {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	there, torn := make(map[string]int), 0
	for line := range strings.Lines(string(text)) {
		var e struct{ Action, Topic string }
		if !strings.HasSuffix(line, "\n") && !again || json.Unmarshal([]byte(line), &e) != nil {
			torn++
			continue
		}
		there[e.Action+" "+e.Topic]++
	}
	if torn > 1 {
		t.Errorf("%d lines are torn", torn)
	}
	return there
}
