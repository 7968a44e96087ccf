package broker

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/qd/disk/disktest"
)

// image is what a crash leaves, and what was promised until then.
type image struct {
	ledger
	disk  *disktest.Disk
	what  string
	power bool // it was a power cut
	when  int64
}

// image keeps what a crash would leave now.
func (w *world) image(left *disktest.Disk, what string, power bool) image {
	return image{ledger: w.clone(), disk: left, what: what, power: power, when: time.Now().UnixNano()}
}

// audit starts a broker on what a crash has left, and compares it with the
// ledger. It lives in a bubble of its own, so that it begins when the crash was.
func (i image) audit(t *testing.T, path string, level Level) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Duration(i.when - time.Now().UnixNano()))
		w := world{level: level}
		r, err := launch(t, path, i.disk, w.settings)
		if err != nil {
			t.Fatalf("%s: %v", i.what, err)
		}
		a := auditor{ledger: &i.ledger, running: r, t: t, what: i.what, power: i.power, level: level}
		defer func() {
			if err := r.stop(); err != nil {
				t.Errorf("%s: stopping: %v", i.what, err)
			}
		}()
		a.auditAll()
	})
}
