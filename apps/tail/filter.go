package main

import (
	"bytes"

	"github.com/millrace-mq/millrace/apps/internal/fields"
)

// filter is what a body must have to be shown. The zero value lets all pass.
type filter struct {
	texts  [][]byte
	fields fields.Filter
}

func (f *filter) passes(body []byte) bool {
	for _, text := range f.texts {
		if !bytes.Contains(body, text) {
			return false
		}
	}
	if len(f.fields) == 0 {
		return true
	}
	ok, err := f.fields.Match(body)
	return ok && err == nil
}
