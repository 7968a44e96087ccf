package cluster

import (
	"context"
	"fmt"

	"github.com/millrace-mq/millrace/admin/audit"
)

// Each calls do for each of the addresses, some of them at a time, and returns what it
// returned in the order of addresses. done, if it is not nil, is called as each ends, one
// at a time and by the goroutine that called Each. Once ctx has ended no further one is
// begun; the result of those says so.
func (c *Cluster) Each(ctx context.Context, addresses []string, do func(ctx context.Context, address string) audit.Result, done func(audit.Result)) []audit.Result {
	type ended struct {
		i int
		r audit.Result
	}
	results := make([]audit.Result, len(addresses))
	ends := make(chan ended)
	next, running := 0, 0
	for next < len(addresses) || running > 0 {
		for next < len(addresses) && running < c.settings.Parallel {
			i, address := next, addresses[next]
			next++
			running++
			go func() { // received from below, in any case
				if err := context.Cause(ctx); err != nil {
					ends <- ended{i, audit.Result{Error: fmt.Sprintf("not asked: %v", err)}}
					return
				}
				ends <- ended{i, do(ctx, address)}
			}()
		}
		e := <-ends
		running--
		if e.r.Node == "" {
			e.r.Node = addresses[e.i]
		}
		results[e.i] = e.r
		if done != nil {
			done(e.r)
		}
	}
	return results
}
