package stats

import (
	"errors"
	"strings"

	"github.com/millrace-mq/millrace/qd/broker"
	"github.com/millrace-mq/millrace/qd/limits"
)

// Node is what is known of the daemon as a whole.
type Node struct {
	State string `json:"state"` // as Source.State says it

	// The file system of the data path, in bytes. What is not known is left out.
	DiskFree *int64 `json:"disk_free,omitempty"`
	DiskSize int64  `json:"disk_size,omitempty"`

	// MemoryUsed is what all messages take in memory, in bytes, and MemoryLimit the
	// daemon's --mem-limit. For a while there may be more than that.
	MemoryUsed  int64 `json:"memory_used"`
	MemoryLimit int64 `json:"memory_limit"`

	// What was refused since the start: secrets of nobody, tokens whose time is over,
	// what somebody had no right to, and what no auth server has answered. Left out
	// while there is none.
	UnknownSecrets uint64 `json:"unknown_secrets,omitempty"`
	ExpiredSecrets uint64 `json:"expired_secrets,omitempty"`
	Refused        uint64 `json:"refused,omitempty"`
	Unanswered     uint64 `json:"auth_unanswered,omitempty"`

	// Limits are what the limits on clients have come to.
	Limits *limits.Figures `json:"limits,omitempty"`
}

func (s *Source) node() Node {
	b := s.Broker
	state, _ := s.State()
	n := Node{State: state, DiskSize: b.DiskSize(), MemoryUsed: b.MemoryInUse(), MemoryLimit: b.MemoryBytes}
	if free, ok := b.FreeBytes(); ok {
		n.DiskFree = &free
	}
	if s.Failures != nil {
		c := s.Failures.Counts()
		n.UnknownSecrets, n.ExpiredSecrets, n.Refused, n.Unanswered = c.Unknown, c.Expired, c.Refused, c.Unanswered
	}
	if s.Limits != nil {
		figures := s.Limits.Figures()
		n.Limits = &figures
	}
	return n
}

// State is what the daemon is doing: ready, failing (the disk is full or cannot be
// written), draining or stopping; and if it takes no publishes, why not, in a
// line.
func (s *Source) State() (state, why string) {
	switch err := s.Broker.Refusal(); {
	case errors.Is(err, broker.ErrDraining):
		return "draining", err.Error()
	case err != nil:
		return "stopping", "STOPPING: this daemon is about to end; publish to another"
	}
	if err := s.Broker.Health(); err != nil {
		return "failing", "FAILING: " + strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	return "ready", ""
}
