//go:build !unix

package sampler

import "time"

var began = time.Now()

// processorTime is all the time there was: more than this process can have used of a
// processor while it worked on one thing.
func processorTime() time.Duration { return time.Since(began) }
