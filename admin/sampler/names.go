package sampler

import "sync"

// maxName is the longest name of a topic, channel or anything else that is kept. NSQ's have
// 64 bytes at most.
const maxName = 1 << 10

// names keeps one copy of each name: fifty nodes tell the same ten thousand, again and
// again.
type names struct {
	mu  sync.RWMutex // guards all
	all map[string]string
}

func newNames() *names { return &names{all: make(map[string]string)} }

// get returns b as a string. hint is what it probably is.
func (n *names) get(b []byte, hint string) string {
	if string(b) == hint {
		return hint
	}
	n.mu.RLock()
	s, known := n.all[string(b)]
	n.mu.RUnlock()
	if known {
		return s
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if s, known = n.all[string(b)]; !known {
		s = string(b)
		n.all[s] = s
	}
	return s
}

// trim forgets all if there are many more than are in use: names that come and go, such as
// those of ephemeral channels, would stay for ever.
func (n *names) trim(inUse int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.all) > 2*inUse+10_000 {
		n.all = make(map[string]string)
	}
}
