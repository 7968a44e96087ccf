package actions

import (
	"context"
	"fmt"
	"net/url"
)

// plan says what is asked of whom, and for what there is nobody to be asked.
func plan(ctx context.Context, j *job) ([]phase, missing) {
	switch j.act.Name {
	case "create-topic":
		return j.planCreateTopic(ctx)
	case "create-channel":
		return j.planCreateChannel(ctx)
	case "delete-topic", "delete-channel":
		return j.planDelete(ctx)
	case "tombstone":
		return j.planTombstone(), missing{}
	case "forget":
		return j.planForget(), missing{}
	case "pause-node", "unpause-node", "drain-node", "disconnect":
		return j.planNodes(), missing{}
	case "publish":
		return j.planPublish()
	}
	return j.planEverywhere(ctx)
}

// paths are what nodes are asked for that is the same for all of them.
var paths = map[string]string{
	"pause-topic": "/topic/pause", "unpause-topic": "/topic/unpause", "pause-channel": "/channel/pause", "unpause-channel": "/channel/unpause",
	"empty-topic": "/topic/empty", "empty-channel": "/channel/empty", "delete-topic": "/topic/delete", "delete-channel": "/channel/delete",
	"topic-policy": "/topic/policy", "channel-policy": "/channel/policy", "seek": "/channel/seek",
	"revive": "/message/revive", "delete-dead": "/message/delete", "copy": "/message/copy", "move": "/message/move",
}

// planEverywhere asks all nodes that have a target to do the same.
func (j *job) planEverywhere(ctx context.Context) ([]phase, missing) {
	w := j.locate(ctx)
	p := phase{calls: make(map[string][]call)}
	var none missing
	for i, t := range j.request.Targets {
		nodes := w.of(t)
		if len(nodes) == 0 {
			none.add(t, w.sofar("no node has it"))
		}
		do := j.doer(t)
		for _, n := range nodes {
			p.calls[n] = append(p.calls[n], call{i, do})
		}
	}
	return []phase{p}, none
}

// doer is what each node is asked to do for a target.
func (j *job) doer(t Target) func(ctx context.Context, address string) outcome {
	q := j.names(t)
	switch j.act.On {
	case OnMessages:
		return j.onMessages(t, q)
	}
	switch j.act.Name {
	case "pause-topic", "pause-channel":
		return j.pause(paths[j.act.Name], j.withPause(q))
	}
	j.addArgs(q)
	switch j.act.Name {
	case "empty-topic", "empty-channel", "seek", "topic-policy":
		return j.postLong(paths[j.act.Name], q)
	}
	return j.post(paths[j.act.Name], q)
}

// names are a target's names as daemons take them.
func (j *job) names(t Target) url.Values {
	q := url.Values{"topic": {t.Topic}}
	if t.Channel != "" {
		q.Set("channel", t.Channel)
	}
	return q
}

// addArgs adds the arguments, which are called the same here and there.
func (j *job) addArgs(q url.Values) {
	for name, v := range j.request.Args {
		q[name] = v
	}
}

func (m *missing) add(t Target, why string) {
	m.names = append(m.names, t.String())
	m.why = why
}

// post returns a call that posts and needs no answer but a success.
func (j *job) post(path string, q url.Values) func(ctx context.Context, address string) outcome {
	return func(ctx context.Context, address string) outcome {
		return j.judge(ctx, address, j.cluster.Post(ctx, address, path, q, nil, nil))
	}
}

// postLong is post for what concerns any number of messages, and may take a daemon longer
// than other requests.
func (j *job) postLong(path string, q url.Values) func(ctx context.Context, address string) outcome {
	return func(ctx context.Context, address string) outcome {
		ctx, cancel := withTime(ctx)
		defer cancel()
		return j.post(path, q)(ctx, address)
	}
}

// withTime is a context that ends when the daemon has had time enough for any change.
func withTime(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, slow, fmt.Errorf("no answer within %v", slow))
}

// planCreateTopic has lookupds know of the topics first, so that consumers are waited
// for. On nodes a topic comes to be with its first message, so they are only told if it
// is to be on one of them, if it has settings, or if there are no lookupds.
func (j *job) planCreateTopic(_ context.Context) ([]phase, missing) {
	lookup, nodes := phase{calls: make(map[string][]call)}, phase{calls: make(map[string][]call)}
	var none missing
	lookupds := j.cluster.Lookupds()
	for i, t := range j.request.Targets {
		q := j.names(t)
		where := []string{t.Node}
		if t.Node == "" {
			for _, l := range lookupds {
				lookup.calls[l] = append(lookup.calls[l], call{i, j.post("/topic/create", q)})
			}
			where = nil
			if len(j.request.Args) > 0 || len(lookupds) == 0 {
				where = j.up()
			}
		}
		if len(where) == 0 && len(lookupds) == 0 {
			none.add(t, "no node is up")
		}
		with := j.names(t)
		j.addArgs(with)
		for _, n := range where {
			nodes.calls[n] = append(nodes.calls[n], call{i, j.settled(n, "has no settings of a topic", j.post("/topic/create", with))})
		}
	}
	return []phase{lookup, nodes}, none
}

// up are the nodes that answered the last poll.
func (j *job) up() (nodes []string) {
	for _, n := range j.snapshot.Nodes {
		if n.Up {
			nodes = append(nodes, n.Address)
		}
	}
	return nodes
}

// settled adds to what an nsqd has done that it overlooked the arguments.
func (j *job) settled(address, lacks string, do func(ctx context.Context, address string) outcome) func(ctx context.Context, address string) outcome {
	n := nodeAt(j.snapshot, address)
	if n == nil || n.Millrace || !n.Up || len(j.request.Args) == 0 {
		return do
	}
	return func(ctx context.Context, address string) outcome {
		o := do(ctx, address)
		if o.done {
			o.text = "this node is an nsqd, and " + lacks
		}
		return o
	}
}

// planCreateChannel has lookupds know of the channels, and creates them on the nodes
// that have the topic.
func (j *job) planCreateChannel(ctx context.Context) ([]phase, missing) {
	w := j.locate(ctx)
	lookup, nodes := phase{calls: make(map[string][]call)}, phase{calls: make(map[string][]call)}
	var none missing
	lookupds := j.cluster.Lookupds()
	for i, t := range j.request.Targets {
		q := j.names(t)
		if t.Node == "" {
			for _, l := range lookupds {
				lookup.calls[l] = append(lookup.calls[l], call{i, j.post("/channel/create", q)})
			}
		}
		with := j.names(t)
		j.addArgs(with)
		has := w.of(Target{Topic: t.Topic, Node: t.Node})
		if len(has) == 0 && len(lookupds) == 0 {
			none.add(t, w.sofar("no node has the topic"))
		}
		for _, n := range has {
			nodes.calls[n] = append(nodes.calls[n], call{i, j.settled(n, "began the channel as nsqd does", j.post("/channel/create", with))})
		}
	}
	return []phase{lookup, nodes}, none
}

// planDelete has lookupds forget first, or consumers would find the nodes, and come
// back, while the topic or channel is being deleted.
func (j *job) planDelete(ctx context.Context) ([]phase, missing) {
	w := j.locate(ctx)
	lookup, nodes := phase{calls: make(map[string][]call)}, phase{calls: make(map[string][]call)}
	var none missing
	for i, t := range j.request.Targets {
		has := w.of(t)
		if len(has) == 0 && !w.registered(t.Topic) {
			none.add(t, "no node has it, and no lookupd knows it")
			continue
		}
		path, q := paths[j.act.Name], j.names(t)
		if t.Node == "" {
			for _, l := range j.cluster.Lookupds() {
				lookup.calls[l] = append(lookup.calls[l], call{i, j.post(path, q)})
			}
		}
		for _, n := range has {
			nodes.calls[n] = append(nodes.calls[n], call{i, j.postLong(path, q)})
		}
	}
	return []phase{lookup, nodes}, none
}

// planTombstone hides topics on nodes, and then deletes them there. If no lookupd hides
// one, consumers would bring it back at once: then it is not deleted either.
func (j *job) planTombstone() []phase {
	lookup, nodes := phase{calls: make(map[string][]call)}, phase{calls: make(map[string][]call)}
	for i, t := range j.request.Targets {
		q := j.names(t)
		q.Set("node", t.Node)
		for _, l := range j.cluster.Lookupds() {
			lookup.calls[l] = append(lookup.calls[l], call{i, j.post("/topic/tombstone", q)})
		}
		nodes.calls[t.Node] = append(nodes.calls[t.Node], call{i, j.ifHidden(i, j.postLong("/topic/delete", j.names(t)))})
	}
	return []phase{lookup, nodes}
}

// ifHidden deletes a target once a lookupd hides it.
func (j *job) ifHidden(target int, remove func(ctx context.Context, address string) outcome) func(ctx context.Context, address string) outcome {
	return func(ctx context.Context, address string) outcome {
		if !j.anywhere(target) {
			return outcome{text: "not deleted: no lookupd hides it"}
		}
		return remove(ctx, address)
	}
}

// planForget has each lookupd forget what it knows of nobody to have.
func (j *job) planForget() []phase {
	p := phase{calls: make(map[string][]call)}
	for i, t := range j.request.Targets {
		path := "/topic/delete"
		if t.Channel != "" {
			path = "/channel/delete"
		}
		forget := j.post(path, j.names(t))
		for _, l := range j.cluster.Lookupds() {
			p.calls[l] = append(p.calls[l], call{i, j.unlessUsed(t, forget)})
		}
	}
	return []phase{p}
}

// unlessUsed looks right before a topic is forgotten whether a node has come that has
// it: a consumer would not find that any more.
func (j *job) unlessUsed(t Target, forget func(ctx context.Context, address string) outcome) func(ctx context.Context, address string) outcome {
	return func(ctx context.Context, lookupd string) outcome {
		has, err := j.holders(ctx, lookupd, t.Topic)
		if err != nil {
			o := j.judge(ctx, lookupd, err)
			if !o.absent {
				o.text = "nothing was done: " + reason(err)
			}
			return o
		}
		if len(has) > 0 && (t.Channel == "" || len(holders(j.Latest(), t.Topic, t.Channel)) > 0) {
			return outcome{text: "it is on " + listed(has, len(has)) + " now: not forgotten"}
		}
		return forget(ctx, lookupd)
	}
}
