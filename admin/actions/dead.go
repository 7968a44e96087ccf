package actions

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/cluster"
)

// onMessages does something to one message, or to all until none is left.
func (j *job) onMessages(t Target, q url.Values) func(ctx context.Context, address string) outcome {
	j.addArgs(q)
	path := paths[j.act.Name]
	if t.ID != "" {
		q.Set("id", t.ID)
		return func(ctx context.Context, address string) outcome {
			n, _, o := j.count(ctx, address, path, q)
			o.count = n
			return o
		}
	}
	return func(ctx context.Context, address string) outcome { return j.untilNone(ctx, address, path, q) }
}

// counted is a daemon's answer to what is done to messages.
type counted struct {
	Count      int64  `json:"count"`
	Unreadable int64  `json:"unreadable"` // that were left as they are, since they are damaged
	More       bool   `json:"more"`
	Next       string `json:"next"` // behind which the next round goes on, if the answer says so
}

// count posts, and reads to how many messages it was done. A qd copies for one at a time:
// while it says that it does so for somebody else, and so has done nothing, it is asked
// again. To give up in the midst of many would have people copy the first ones twice.
func (j *job) count(ctx context.Context, address, path string, q url.Values) (int64, counted, outcome) {
	for began := time.Now(); ; {
		var c counted
		once, cancel := withTime(ctx)
		err := j.cluster.Post(once, address, path, q, nil, &c)
		if err == nil && c.Count < 0 {
			c.Count, err = 0, errNonsense
		}
		o := j.judge(once, address, err)
		cancel()
		if !isBusy(err) || time.Since(began) > maxBusy || !sleep(ctx, betweenBusy) {
			return c.Count, c, o
		}
	}
}

const (
	maxBusy     = 5 * time.Minute // that a daemon is asked again
	betweenBusy = 100 * time.Millisecond
)

func isBusy(err error) bool {
	r, ok := errors.AsType[*cluster.Refusal](err)
	return ok && r.Status == http.StatusServiceUnavailable && r.Code == "BUSY"
}

// sleep waits, and reports whether ctx still lasts.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// untilNone goes on as long as the daemon says that there are more: it does so many at
// a time.
func (j *job) untilNone(ctx context.Context, address, path string, q url.Values) outcome {
	own := url.Values{}
	for k, v := range q {
		own[k] = v
	}
	sum, unreadable := int64(0), int64(0)
	for {
		n, c, o := j.count(ctx, address, path, own)
		sum, unreadable = sum+n, unreadable+c.Unreadable
		total := j.addCount(address, n)
		o.count = sum
		if !o.done || !c.More {
			return o.after(sum, unreadable)
		}
		if n == 0 && (c.Next == "" || c.Next == own.Get("after")) {
			o.done, o.text = false, "the node says that there are more, and does no more"
			return o.after(sum, unreadable)
		}
		if j.act.Name == "copy" && c.Next == "" { // the same ones would be copied again
			o.text = "there are more: a node copies so many at a time"
			return o.after(sum, unreadable)
		}
		if c.Next != "" {
			own.Set("after", c.Next)
		}
		j.progress(audit.Result{Node: address, OK: true, Count: total, Note: "so far; there are more"})
		if ctx.Err() != nil {
			o.done, o.text = false, fmt.Sprintf("%v; the rest was not done", context.Cause(ctx))
			return o.after(sum, unreadable)
		}
	}
}

// after is the outcome after so many messages.
func (o outcome) after(done, unreadable int64) outcome {
	if unreadable > 0 {
		left := number(unreadable) + " are damaged, and were left as they are"
		if o.text != "" {
			left = "; " + left
		}
		o.text += left
	}
	if !o.done && done > 0 {
		o.absent, o.text = false, fmt.Sprintf("after %s messages: %s", number(done), o.text)
	}
	return o
}
