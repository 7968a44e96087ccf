package api

import (
	"errors"
	"net/http"
	"strings"
	"syscall"

	"github.com/millrace-mq/millrace/internal/httpapi"
	"github.com/millrace-mq/millrace/qd/broker"
	"github.com/millrace-mq/millrace/qd/limits"
	"github.com/millrace-mq/millrace/qd/queue"
)

func tooLarge(code string) error {
	return &httpapi.Error{Status: http.StatusRequestEntityTooLarge, Code: code}
}

func notFound(code string) error { return &httpapi.Error{Status: http.StatusNotFound, Code: code} }

var (
	errDraining = &httpapi.Error{Status: http.StatusServiceUnavailable, Code: broker.ErrDraining.Error()}
	errExiting  = &httpapi.Error{Status: http.StatusServiceUnavailable, Code: "EXITING"}
	errInternal = &httpapi.Error{Status: http.StatusInternalServerError, Code: "INTERNAL_ERROR"}
)

// refusal is what a client is told of an error of the broker's. One that is not
// known here is returned as it is.
func refusal(err error) error {
	if full, ok := errors.AsType[*broker.BacklogError](err); ok {
		// Not 503: the daemon is well, and takes what is for other topics. It is this
		// topic's publishers who should slow down, so neither alarms about servers
		// nor balancers that turn away from a node should go off.
		return sentence(http.StatusTooManyRequests, "TOPIC_FULL", full)
	}
	if full, ok := errors.AsType[*broker.SpaceError](err); ok {
		return sentence(http.StatusServiceUnavailable, "DISK_FULL", full)
	}
	if early, ok := errors.AsType[*limits.RateError](err); ok {
		return &httpapi.Error{Status: http.StatusTooManyRequests, Code: early.Error(), RetryAfter: early.Again}
	}
	if over, ok := errors.AsType[*limits.QuotaError](err); ok {
		return &httpapi.Error{Status: http.StatusTooManyRequests, Code: over.Error()}
	}
	switch {
	case errors.Is(err, syscall.ENOSPC): // there is no floor, or others have filled what was below it
		return sentence(http.StatusServiceUnavailable, "DISK_FULL", err)
	case errors.Is(err, broker.ErrDraining):
		return errDraining
	case errors.Is(err, broker.ErrExiting):
		return errExiting
	case errors.Is(err, broker.ErrNoTopic), errors.Is(err, broker.ErrGone):
		return notFound("TOPIC_NOT_FOUND")
	case errors.Is(err, broker.ErrNoChannel):
		return notFound("CHANNEL_NOT_FOUND")
	case errors.Is(err, broker.ErrNoMessage):
		return notFound("MESSAGE_NOT_FOUND")
	case errors.Is(err, queue.ErrNotDead):
		return sentence(http.StatusNotFound, "MESSAGE_NOT_FOUND", queue.ErrNotDead)
	case errors.Is(err, broker.ErrUnreadable):
		return sentence(http.StatusConflict, "MESSAGE_UNREADABLE", broker.ErrUnreadable)
	case errors.Is(err, broker.ErrLevel):
		return sentence(http.StatusConflict, "LEVEL_FIXED", broker.ErrLevel)
	case errors.Is(err, broker.ErrNeedsLog):
		return sentence(http.StatusConflict, "NEEDS_LOG", broker.ErrNeedsLog)
	case errors.Is(err, queue.ErrNoMemory):
		return &httpapi.Error{Status: http.StatusServiceUnavailable, Code: "NO_MEMORY"}
	}
	return err
}

// sentence is an answer whose code is followed by what err says, in one line.
func sentence(status int, code string, err error) error {
	return httpapi.Errorf(status, "%s: %s", code, strings.ReplaceAll(err.Error(), "\n", "; "))
}
