package access

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace-mq/millrace/internal/textfile"
)

// every is how often the file is looked at.
const every = time.Second

// File is an access file as a Policy. It is read again when it changes, while Run
// runs, and by Reload. What cannot be read or understood then is logged, and what it
// said before stays in use.
type File struct {
	path     string
	log      *slog.Logger
	failures Failures
	current  atomic.Pointer[Rules]
	changed  func() // may be nil

	mu    sync.Mutex     // held while the file is read: two would not know which is newer
	file  *textfile.File // the one at path
	text  []byte         // what was read
	wrong string         // what is wrong with it, as the log says; empty if nothing is
}

// Open reads the access file. The error says, in lines, all that is wrong with it.
func Open(path string, log *slog.Logger) (*File, error) {
	f := &File{path: path, log: log, file: textfile.New("access-file", path)}
	f.file.Changed()
	text, err := f.file.Read()
	if err != nil {
		return nil, err
	}
	r, err := Parse(path, text)
	if err != nil {
		return nil, err
	}
	f.text = text
	f.use(r)
	return f, nil
}

// CheckFile says all that is wrong with the access file. Nothing is if path is empty.
func CheckFile(path string) error {
	if path == "" {
		return nil
	}
	_, err := Open(path, slog.New(slog.DiscardHandler))
	return err
}

// OnChange has changed called when the file has other Rules, by whoever has read it.
// It is set before Run and Reload are called.
func (f *File) OnChange(changed func()) { f.changed = changed }

// Run reads the file again when it changes, until ctx ends; then it returns nil.
func (f *File) Run(ctx context.Context) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			f.look()
		case <-ctx.Done():
			return nil
		}
	}
}

// look reads the file if it may have changed.
func (f *File) look() {
	f.mu.Lock()
	if !f.file.Changed() {
		f.mu.Unlock()
		return
	}
	r, text, err := f.parse()
	if err == nil {
		f.take(r, text)
	}
	if said := fmt.Sprint(err); err != nil && f.wrong != said {
		f.log.Error("cannot use the changed access file; what it said before stays in use", "file", f.path, "error", err)
		f.wrong = said
	}
	f.mu.Unlock()
	f.put(r)
}

// Reload reads the file now, and returns what is wrong with it; then what it said
// before stays in use.
func (f *File) Reload() error {
	use, err := f.Prepare()
	if err == nil {
		use()
	}
	return err
}

// Prepare is the first half of Reload, for whoever has more to reload, and changes all of
// it or nothing: use has what the file says now in use, unless it has been read again since.
func (f *File) Prepare() (use func(), err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.current.Load()
	r, text, err := f.parse()
	if err != nil {
		return nil, err
	}
	return func() {
		f.mu.Lock()
		if f.current.Load() != before {
			r = nil // what is in use is newer
		}
		f.take(r, text)
		f.file.Recheck() // it may have changed since it was read
		f.mu.Unlock()
		f.put(r)
	}, nil
}

// parse reads what the file says, and returns the new Rules; nil if they are still the
// same. Under mu.
func (f *File) parse() (r *Rules, text []byte, err error) {
	if text, err = f.file.Read(); err != nil || bytes.Equal(text, f.text) {
		return nil, text, err
	}
	r, err = f.sound(text)
	return r, text, err
}

// take has new Rules in use, which are what a text says; nil are none. Under mu.
func (f *File) take(r *Rules, text []byte) {
	f.wrong = ""
	if r != nil {
		f.text = text
		f.current.Store(r)
	}
}

// sound parses a text that is to follow what there is.
func (f *File) sound(text []byte) (*Rules, error) {
	r, err := Parse(f.path, text)
	if err == nil && !r.Any() && f.current.Load().Any() {
		// Most likely it is being written; and everything would be open.
		return nil, fmt.Errorf("access-file %s: has no rules any more, which would let everybody do everything: start anew without --access-file if that is meant", f.path)
	}
	return r, err
}

// put tells of new Rules; nil are none. It is not called under mu: others may ask.
func (f *File) put(r *Rules) {
	if r == nil {
		return
	}
	f.tell(r, "access file read anew")
	if f.changed != nil {
		f.changed()
	}
}

func (f *File) use(r *Rules) {
	f.current.Store(r)
	f.tell(r, "access file read")
}

func (f *File) tell(r *Rules, what string) {
	f.log.Info(what, "file", f.path, "tokens", len(r.tokens), "certificates", len(r.certificates), "rules", r.rules)
	if !r.Any() {
		f.log.Warn("the access file has no rules: everybody may do everything", "file", f.path)
	}
}

// Rules are those in use. Others are at another address, so an answer of one is good
// for as long as this returns the same.
func (f *File) Rules() *Rules { return f.current.Load() }

// Grant is what who may do now.
func (f *File) Grant(who Who) Grant { return f.Rules().Grant(who, time.Now()) }

// Identify returns what the file calls who; empty if it does not know him.
func (f *File) Identify(who Who) string {
	g := f.Grant(who)
	return g.Name
}

// Rights are those that who has on all topics and channels.
func (f *File) Rights(who Who) Rights {
	g := f.Grant(who)
	return g.Everywhere()
}

// Failures counts what was refused.
func (f *File) Failures() *Failures { return &f.failures }

// Allow implements Policy. Who has shown a wrong secret may have to wait for it.
func (f *File) Allow(ctx context.Context, who Who, action Action, topic, channel string) error {
	g := f.Grant(who)
	if g.May(action, topic, channel) {
		return nil
	}
	return f.Refuse(ctx, who, g, action, topic, channel)
}

// Refuse counts that g, the grant of who, does not allow an action, and returns what
// to tell him. It returns soon after ctx has ended.
func (f *File) Refuse(ctx context.Context, who Who, g Grant, action Action, topic, channel string) *Refusal {
	f.failures.Refuse()
	if g.Secret > KnownSecret {
		f.failures.Wrong(ctx, who, g.Secret)
	}
	return g.refusal(action, topic, channel)
}

// View implements Viewer.
func (f *File) View(who Who, action Action) func(topic, channel string) bool {
	g := f.Grant(who)
	if g.SeesAll(action) {
		return nil
	}
	return func(topic, channel string) bool { return g.Sees(action, topic, channel) }
}
