package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/millrace-mq/millrace/protocol"
)

const (
	topicToken = "<TOPIC>"
	ephemeral  = "#ephemeral"
)

// route says to which topic another's messages go.
type route struct {
	template string
	renames  map[string]string
}

// check completes a route by renames, as old=new.
func (r *route) check(renames []string) error {
	var errs []error
	r.renames = make(map[string]string)
	for _, text := range renames {
		from, to, ok := strings.Cut(text, "=")
		switch before, twice := r.renames[from]; {
		case !ok || !protocol.ValidName(from) || !protocol.ValidName(to):
			errs = append(errs, fmt.Errorf("rename %q: must be old=new, both valid names of topics", text))
		case !twice:
			r.renames[from] = to
		case before != to:
			errs = append(errs, fmt.Errorf("rename %q: %s is renamed to %s already", text, from, before))
		}
	}
	if _, err := r.fill("t"); err != nil {
		errs = append(errs, fmt.Errorf("destination-topic %q: not a valid name, in which %s may stand for the source's topic", r.template, topicToken))
	}
	return errors.Join(errs...)
}

// to returns the topic that a topic's messages go to.
func (r *route) to(topic string) (string, error) {
	if name, ok := r.renames[topic]; ok {
		return name, nil
	}
	return r.fill(topic)
}

// fill puts a topic into the template. That it is ephemeral stays at the end of a name.
func (r *route) fill(topic string) (string, error) {
	plain, passing := topic, ""
	if strings.Contains(r.template, topicToken) {
		var is bool
		if plain, is = strings.CutSuffix(topic, ephemeral); is && !strings.HasSuffix(r.template, ephemeral) {
			passing = ephemeral
		}
	}
	name := strings.ReplaceAll(r.template, topicToken, plain) + passing
	if !protocol.ValidName(name) {
		return "", fmt.Errorf("destination-topic %s: %q is no valid name of a topic (64 characters at most): rename it with --rename=%s=NEW", r.template, name, topic)
	}
	return name, nil
}
