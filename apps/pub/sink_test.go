package main

import (
	"errors"
	"fmt"
	"testing"
	"time"

	millrace "github.com/millrace-mq/millrace/clients/go"
	"github.com/millrace-mq/millrace/protocol"
)

// What an error says about the publishes to come.
func TestJudge(t *testing.T) {
	said := func(code string) error { return &protocol.Error{Code: code} }
	refused := func(err error) error { return &millrace.RefusedError{Address: "qd", Err: err} }
	away := func(err error) error {
		return &millrace.UnavailableError{Err: fmt.Errorf("connecting to qd: %w", err)}
	}
	tests := map[string]struct {
		err      error
		deferred time.Duration
		want     verdict
	}{
		"away":                        {err: away(errDown), want: later},
		"no answer":                   {err: &millrace.UncertainError{Err: errDown}, want: later},
		"its disk is full":            {err: away(said(protocol.EMPubFailed)), want: later},
		"the deferred have no room":   {err: away(said(protocol.EDPubFailed)), want: later},
		"it cannot ask who we are":    {err: away(said(protocol.EAuthFailed)), want: later},
		"a bad message":               {err: refused(said(protocol.EBadMessage)), want: notThis},
		"a bad batch":                 {err: refused(said(protocol.EBadBody)), want: notThis},
		"too large, as it has said":   {err: refused(errors.New("over the limit")), want: notThis},
		"too late, as it has said":    {err: refused(errors.New("over the limit")), deferred: time.Hour, want: hopeless},
		"a topic":                     {err: refused(said(protocol.EBadTopic)), want: notTopic},
		"a topic of others":           {err: refused(said(protocol.EUnauthorized)), want: notTopic},
		"a secret":                    {err: away(said(protocol.EUnauthorized)), want: hopeless},
		"a command that it knows not": {err: refused(said(protocol.EInvalid)), want: hopeless},
		"TLS that it does not offer":  {err: away(millrace.ErrMismatch), want: hopeless},
		"AUTH without a secret":       {err: refused(millrace.ErrMismatch), want: hopeless},
	}
	for name, tt := range tests {
		d := &delivery{deferred: tt.deferred}
		if got := d.judge(tt.err); got != tt.want {
			t.Errorf("%s: verdict %d, want %d", name, got, tt.want)
		}
	}
}
