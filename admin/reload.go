package admin

import (
	"flag"

	"github.com/millrace-mq/millrace/internal/program"
)

type row = program.Row[*Daemon, Settings]

// live are the settings that a reload, and PUT /config, change in an admin that runs,
// and how. All others need a restart.
func live() []row {
	return []row{
		{Prepare: (*Daemon).reloadAccess},
		{Keys: []string{"log_level"}, Prepare: (*Daemon).reloadLevel},
		{Keys: []string{"nsqlookupd_http_addresses"}, Prepare: (*Daemon).reloadLookupds},
	}
}

// Live are the keys of the settings that can be changed in an admin that runs.
func Live() (keys []string) {
	for _, r := range live() {
		keys = append(keys, r.Keys...)
	}
	return keys
}

// settable says how settings are declared and checked.
var settable = program.Kind[Settings]{
	Flags:    func(s *Settings, fs *flag.FlagSet) { s.Flags(fs) },
	Validate: func(s *Settings) error { return s.Validate() },
	Origins:  func(s *Settings) **program.Origins { return &s.Origins },
	Reread:   func(s *Settings) func() (*Settings, error) { return s.Reread },
	Together: func(s *Settings) func() (program.Reloaded, error) { return s.Together },
}

// Reload reads the settings again that the admin was started with, and changes those
// that can be changed while it runs. It says what has changed and what needs a restart;
// if anything is wrong with any setting, nothing changes. What somebody has changed
// over HTTP is put back. It may be called at any time, by several at once.
func (d *Daemon) Reload() (program.Reloaded, error) {
	found, err := d.running.Reload()
	if d.now().Together == nil { // else that tells it, once
		program.TellReload(d.log, found, err)
	}
	return found, err
}

// Prepare is the first half of Reload, for a process of several daemons: reread returns
// what this one is to have, and is called when no other change is under way. Whoever
// calls it commits or drops what it returns.
func (d *Daemon) Prepare(reread func() (*Settings, error)) (*program.Pending, error) {
	return d.running.Prepare(reread)
}

// now is the settings that hold; they are not written to.
func (d *Daemon) now() *Settings { return d.running.Now() }

// reloadAccess has what the access file says hold together with the settings, or neither.
func (d *Daemon) reloadAccess(*Settings) (apply func(), err error) {
	if d.access == nil {
		return nil, nil
	}
	return d.access.Prepare()
}

func (d *Daemon) reloadLevel(to *Settings) (apply func(), err error) {
	level, err := program.ParseLevel(to.LogLevel)
	if err != nil || d.level == nil {
		return nil, err
	}
	return func() { d.level.Set(level) }, nil
}

func (d *Daemon) reloadLookupds(to *Settings) (apply func(), err error) {
	if err := d.cluster.CheckLookupds(to.Lookupds); err != nil {
		return nil, err
	}
	return func() {
		_ = d.cluster.SetLookupds(to.Lookupds) // they have been looked at
		d.sampler.Poke()
	}, nil
}
