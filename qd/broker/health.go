package broker

import (
	"errors"
	"log/slog"
	"sync"
)

// health is whether the disk works, as far as some of its users know.
type health struct {
	log *slog.Logger

	mu     sync.Mutex // guards what follows
	failed int        // users for whom it fails
	why    error      // the first of their errors
}

// fail tells that the disk has begun to fail for one more user.
func (h *health) fail(err error) {
	h.mu.Lock()
	h.failed++
	first := h.failed == 1
	if first {
		h.why = err
	}
	h.mu.Unlock()
	if first {
		h.log.Error("cannot use the disk; trying again every second", "error", err)
	}
}

// recover tells that the disk works again for a user, or that the user is
// gone.
func (h *health) recover() {
	h.mu.Lock()
	h.failed--
	last := h.failed == 0
	h.mu.Unlock()
	if last {
		h.log.Info("the disk can be used again")
	}
}

func (h *health) err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failed == 0 {
		return nil
	}
	return errors.New(h.why.Error())
}
