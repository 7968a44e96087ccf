package cluster

import (
	"context"
	"fmt"
	"io"
	"time"
)

// errPatience is what is wrong with a daemon that does not answer in time.
var errPatience = fmt.Errorf("no answer in time: %w", context.DeadlineExceeded)

// outOfPatience is errPatience, with the time.
func outOfPatience(after time.Duration) error { return impatience{after} }

type impatience struct{ after time.Duration }

func (i impatience) Error() string { return fmt.Sprintf("no answer within %v", i.after) }
func (i impatience) Unwrap() error { return errPatience }

// patience ends a context when a daemon has been waited for too long: once, or in sum.
type patience struct {
	timer  *time.Timer
	cancel context.CancelCauseFunc
	once   time.Duration
	left   time.Duration // of the sum
	began  time.Time     // of the wait that is under way
}

// patienceKey marks a context that patience ends.
type patienceKey struct{}

// waits is how many times RequestTimeout all waits for one answer may take.
const waits = 12

// beginPatience returns a context that ends when patience does, which waits from now on. A
// deadline that ctx has holds as well.
func (c *Cluster) beginPatience(ctx context.Context) (context.Context, *patience) {
	once := c.settings.RequestTimeout
	ctx, cancel := context.WithCancelCause(context.WithValue(ctx, patienceKey{}, true))
	p := &patience{cancel: cancel, once: once, left: waits * once, began: time.Now()}
	p.timer = time.AfterFunc(once, func() { cancel(outOfPatience(once)) })
	return ctx, p
}

// stop ends a wait.
func (p *patience) stop() {
	p.timer.Stop()
	p.left -= time.Since(p.began)
}

// wait begins one.
func (p *patience) wait() {
	p.began = time.Now()
	p.timer.Reset(max(0, min(p.once, p.left)))
}

func (p *patience) end() {
	p.timer.Stop()
	p.cancel(nil)
}

// patient is an answer whose parts are waited for with patience.
type patient struct {
	from io.Reader
	*patience
}

func (p *patient) Read(b []byte) (int, error) {
	p.wait()
	n, err := p.from.Read(b)
	p.stop()
	return n, err
}
