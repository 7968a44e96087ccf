package httpapi

import (
	"errors"
	"net/http"

	"github.com/millrace-mq/millrace/internal/program"
)

// RefusedSetting is the answer to who wanted to change the setting called key while the
// daemon runs, err being why it was not. Where NSQ has no more words for it than a code,
// nor has this.
func RefusedSetting(key string, err error) error {
	switch {
	case errors.Is(err, program.ErrUnknownOption):
		return BadRequest("INVALID_OPTION")
	case errors.Is(err, program.ErrNeedsRestart):
		return BadRequest("INVALID_OPTION: " + key + " " + err.Error())
	case errors.Is(err, program.ErrEnding):
		return Errorf(http.StatusServiceUnavailable, "STOPPING: %v", err)
	case errors.Is(err, program.ErrMalformed), key == "log_level":
		return BadRequest("INVALID_VALUE")
	}
	return BadRequest("INVALID_VALUE: " + err.Error())
}

// NotReloaded is the answer to who wanted the settings reloaded, err being all that is
// wrong with them. The request was right, and will be again when they are.
func NotReloaded(err error) error {
	if errors.Is(err, program.ErrEnding) {
		return Errorf(http.StatusServiceUnavailable, "STOPPING: %v", err)
	}
	return Errorf(http.StatusConflict, "NOT_RELOADED: nothing has changed: %v", err)
}
