package lookupd

import (
	"flag"

	"github.com/millrace-mq/millrace/internal/audit"
	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/lookupd/registry"
)

type row = program.Row[*Daemon, Settings]

// live are the settings that a reload, and PUT /config, change in a daemon that runs,
// and how. All others need a restart.
func live() []row {
	return []row{
		{Prepare: (*Daemon).reloadFiles},
		{Keys: []string{"log_level"}, Prepare: (*Daemon).reloadLevel},
		{Keys: []string{"inactive_producer_timeout", "tombstone_lifetime"}, Prepare: (*Daemon).reloadTimes},
		{Keys: []string{"peer_timeout"}, Prepare: (*Daemon).reloadPatience},
		{Keys: []string{
			"max_connections", "max_connections_per_address", "producer_max_topics", "producer_max_channels",
		}, Prepare: (*Daemon).reloadLimits},
	}
}

// Live are the keys of the settings that can be changed in a daemon that runs.
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

// Reload reads the settings again that the daemon was started with, and changes those
// that can be changed while it runs. It says what has changed and what needs a restart;
// if anything is wrong with any setting, nothing changes. What somebody has changed
// over HTTP is put back. The audit file is opened anew. It may be called at any time, by
// several at once.
func (d *Daemon) Reload() (program.Reloaded, error) {
	found, err := d.reload()
	d.did(audit.Signal, "reload", audit.Reloaded(found), err)
	return found, err
}

// reload is Reload for those who write an audit line of their own.
func (d *Daemon) reload() (program.Reloaded, error) {
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

func (d *Daemon) reloadLimits(to *Settings) (apply func(), err error) {
	return func() { d.limit(to) }, nil
}

// limit has the limits of s hold.
func (d *Daemon) limit(s *Settings) {
	d.peers.connections.Set(s.MaxConnections, s.MaxConnectionsPerAddress)
	d.visitors.Set(s.MaxConnections, s.MaxConnectionsPerAddress)
	d.peers.most.Store(&registry.Most{Topics: s.ProducerMaxTopics, Channels: s.ProducerMaxChannels})
}

// reloadFiles opens the audit file anew, which may have been moved away, whatever becomes
// of the reload, and reads the access file.
func (d *Daemon) reloadFiles(*Settings) (apply func(), err error) {
	d.audit.Reopen()
	if d.access == nil {
		return nil, nil
	}
	return d.access.Prepare()
}

func (d *Daemon) reloadLevel(to *Settings) (apply func(), err error) {
	level, err := program.ParseLevel(to.LogLevel)
	if err != nil || to.Level == nil {
		return nil, err
	}
	return func() { to.Level.Set(level) }, nil
}

// reloadTimes changes how long things last for what is registered, too.
func (d *Daemon) reloadTimes(to *Settings) (apply func(), err error) {
	return func() { d.peers.dir.configure(to.lasting()) }, nil
}

// reloadPatience holds for connections that come afterwards, and for others from what
// they say next.
func (d *Daemon) reloadPatience(to *Settings) (apply func(), err error) {
	return func() { d.peers.timeout.Store(int64(to.PeerTimeout)) }, nil
}

// tellable is the settings as /config tells them: with what was found out.
type tellable struct{ *Daemon }

func (d tellable) list() []program.Setting {
	return d.running.List(func(s *Settings) {
		s.BroadcastAddress, s.LogLevel = d.host, program.LevelName(s.LogLevel, s.Level)
	})
}

func (d tellable) set(key string, value []byte) error { return d.running.Set(key, value) }

// lasting is how long things last in the registry.
func (s *Settings) lasting() registry.Config {
	return registry.Config{Inactive: s.InactiveProducerTimeout, Tombstone: s.TombstoneLifetime, Away: awayTime}
}
