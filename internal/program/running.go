package program

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Running is the settings of a daemon D that runs, and the only one who changes them.
// What the daemon does later it asks Now for; what it has made of its settings, rows
// make anew.
type Running[D, S any] struct {
	of   D
	kind Kind[S]
	rows []Row[D, S]
	now  atomic.Pointer[S] // never written to

	// turn is for one change at a time: of two reloads, what the later one has read is to
	// hold. It is held while files are read; nobody waits for it but others who change
	// settings.
	turn  sync.Mutex
	ended bool
}

// NewRunning returns the settings s of the daemon of, which rows change. It copies s.
func NewRunning[D, S any](of D, s S, kind Kind[S], rows []Row[D, S]) *Running[D, S] {
	r := &Running[D, S]{of: of, kind: kind, rows: rows}
	r.now.Store(&s)
	return r
}

// Now is the settings that hold. They are not to be written to.
func (r *Running[D, S]) Now() *S { return r.now.Load() }

// Close has every later change refused.
func (r *Running[D, S]) Close() {
	r.turn.Lock()
	defer r.turn.Unlock()
	r.ended = true
}

// row is the row that key is in, or nil.
func (r *Running[D, S]) row(key string) *Row[D, S] {
	for i := range r.rows {
		if slices.Contains(r.rows[i].Keys, key) {
			return &r.rows[i]
		}
	}
	return nil
}

// Reload reads the settings again and changes what can be changed, or nothing if
// anything is wrong with any of them.
func (r *Running[D, S]) Reload() (Reloaded, error) {
	if together := r.kind.Together(r.Now()); together != nil {
		return together()
	}
	reread := r.kind.Reread(r.Now())
	if reread == nil {
		return Reloaded{}, ErrNoReread
	}
	pending, err := r.Prepare(reread)
	if err != nil {
		return Reloaded{}, err
	}
	return pending.Commit(), nil
}

// Pending is a reload that is ready, and holds up all other changes until it is
// committed or dropped.
type Pending struct {
	apply   []func()
	store   func()
	release func()
	found   Reloaded
}

// Commit makes the changes. nil has none.
func (p *Pending) Commit() Reloaded {
	if p == nil {
		return Reloaded{}
	}
	defer p.release()
	p.store() // first: what is told of a change looks at what it is
	for _, apply := range p.apply {
		apply()
	}
	return p.found
}

// Drop changes nothing.
func (p *Pending) Drop() {
	if p != nil {
		p.release()
	}
}

// Prepare takes what reread returns and makes ready all that is different. Whoever has
// several daemons prepares all before he commits any.
func (r *Running[D, S]) Prepare(reread func() (*S, error)) (p *Pending, err error) {
	r.turn.Lock()
	defer func() {
		if err != nil {
			r.turn.Unlock()
		}
	}()
	if r.ended {
		return nil, ErrEnding
	}
	now := r.Now()
	to, err := reread()
	files, unready := r.prepare(now, func(row Row[D, S]) bool { return len(row.Keys) == 0 })
	if err == nil {
		err = r.kind.Validate(to)
	} else if to != nil { // all complaints at once
		err = errors.Join(err, further(err, r.kind.Validate(to)))
	}
	if err = errors.Join(err, unready); err != nil {
		return nil, err
	}
	p = &Pending{release: r.turn.Unlock, found: Reloaded{Changed: []Difference{}, NeedsRestart: []Difference{}}}
	var live []string
	for _, d := range r.kind.differences(now, to) {
		if r.row(d.Key) == nil {
			p.found.NeedsRestart = append(p.found.NeedsRestart, d)
		} else {
			p.found.Changed = append(p.found.Changed, d)
			live = append(live, d.Key)
		}
	}
	next := r.with(now, to, live)
	if err := r.kind.Validate(next); err != nil {
		return nil, fmt.Errorf("a restart is needed, for %s cannot be changed before: %w", strings.Join(keysOf(p.found.NeedsRestart), ", "), err)
	}
	if p.apply, err = r.prepare(next, having[D, S](live...)); err != nil {
		return nil, err
	}
	p.apply = append(files, p.apply...)
	var fixed []string
	for _, d := range p.found.NeedsRestart {
		fixed = append(fixed, d.Key)
	}
	*r.kind.Origins(next) = (*r.kind.Origins(to)).except(*r.kind.Origins(now), fixed)
	p.store = func() { r.now.Store(next) }
	return p, nil
}

// with is now with the values that to has of keys.
func (r *Running[D, S]) with(now, to *S, keys []string) *S {
	next := *now
	r.kind.take(&next, to, keys)
	return &next
}

// having says which rows have any of keys.
func having[D, S any](keys ...string) func(Row[D, S]) bool {
	return func(row Row[D, S]) bool {
		return slices.ContainsFunc(row.Keys, func(k string) bool { return slices.Contains(keys, k) })
	}
}

// prepare asks each row that is chosen once.
func (r *Running[D, S]) prepare(next *S, chosen func(Row[D, S]) bool) (apply []func(), err error) {
	var errs []error
	for _, row := range r.rows {
		if row.Prepare == nil || !chosen(row) {
			continue
		}
		change, err := row.Prepare(r.of, next)
		if err != nil {
			errs = append(errs, err)
		} else if change != nil {
			apply = append(apply, change)
		}
	}
	return apply, errors.Join(errs...)
}

// Set changes one setting, as somebody asks for who does not want to wait for the
// file: a list is an array of JSON, all else is what a flag would be given. The next
// reload puts it back. The error is ErrUnknownOption, ErrNeedsRestart, ErrEnding, or
// what is wrong with the value.
func (r *Running[D, S]) Set(key string, value []byte) error {
	r.turn.Lock()
	defer r.turn.Unlock()
	if r.ended {
		return ErrEnding
	}
	now := r.Now()
	next := *now
	var f *flag.Flag
	for _, o := range Options(r.kind.flags(&next)) {
		if o.Key == key {
			f = o.Flag
		}
	}
	switch {
	case f == nil:
		return ErrUnknownOption
	case r.row(key) == nil:
		return ErrNeedsRestart
	}
	if err := setText(f, value); err != nil {
		return err
	}
	if err := r.kind.Validate(&next); err != nil {
		return err
	}
	apply, err := r.prepare(&next, having[D, S](key))
	if err != nil {
		return err
	}
	*r.kind.Origins(&next) = (*r.kind.Origins(now)).changed(key)
	r.now.Store(&next)
	for _, change := range apply {
		change()
	}
	return nil
}

// resettable is a list that Set adds to.
type resettable interface{ Reset() }

// setText sets f to value, which is not among its other values afterwards.
func setText(f *flag.Flag, value []byte) error {
	list, isList := f.Value.(resettable)
	if !isList {
		if err := f.Value.Set(strings.TrimSpace(string(value))); err != nil {
			return errors.New(f.Name + ": " + refusal(f, kind(f), err))
		}
		return nil
	}
	var texts []string
	if err := json.Unmarshal(value, &texts); err != nil || texts == nil {
		return fmt.Errorf("%s: %w", f.Name, ErrMalformed)
	}
	list.Reset()
	for _, v := range texts {
		if err := f.Value.Set(v); err != nil {
			return err
		}
	}
	return nil
}

// except is o, but what before knows of keys.
func (o *Origins) except(before *Origins, keys []string) *Origins {
	if o == nil {
		return nil
	}
	merged := &Origins{maps.Clone(o.of)}
	for _, key := range keys {
		if before == nil {
			delete(merged.of, key)
		} else if known, ok := before.of[key]; ok {
			merged.of[key] = known
		}
	}
	return merged
}

// changed is o after somebody has changed key while the program ran.
func (o *Origins) changed(key string) *Origins {
	merged := new(Origins)
	if o != nil {
		merged.of = maps.Clone(o.of)
	}
	if merged.of == nil {
		merged.of = make(map[string]origin)
	}
	known := merged.of[key]
	known.source = AtRuntime
	merged.of[key] = known
	return merged
}

// List is all settings, as GET /config shows them; told may show something else
// than what was set: what was found out. It gets a copy.
func (r *Running[D, S]) List(told func(*S)) []Setting {
	s := *r.Now()
	if told != nil {
		told(&s)
	}
	all := (*r.kind.Origins(&s)).List(r.kind.flags(&s))
	for i := range all {
		all[i].Reloadable = r.row(all[i].Key) != nil
	}
	return all
}
