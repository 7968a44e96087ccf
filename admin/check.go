package admin

import (
	"errors"
	"log/slog"
	"os"

	"github.com/millrace-mq/millrace/admin/signin"
	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/program"
)

// CheckFiles says all that is wrong with the files that the settings name, which Validate
// has no complaint about. It writes nothing.
func (s *Settings) CheckFiles() error {
	log := slog.New(slog.DiscardHandler)
	_, certificates := s.TLSConfig(log)
	_, client := s.clientTLS(log)
	_, token := s.token()
	base, _ := s.base() // Validate has looked at it
	who := s.whoComes(base)
	var made string
	if _, err := os.Stat(who.KeyFile); err != nil {
		made, who.KeyFile = who.KeyFile, "" // else it would be made
	}
	_, people := signin.New(who, log)
	return errors.Join(certificates, client, token, people, access.CheckFile(s.AccessFile),
		program.CheckWritten("session-key-file", made),
		program.CheckWritten("history-file", s.HistoryFile),
		program.CheckWritten("audit-file", s.AuditFile))
}

// whoComes is the settings of those who sign in, but for what answers them.
func (s *Settings) whoComes(base string) signin.Settings {
	return signin.Settings{
		Base: base, File: s.UsersFile, Proxies: s.TrustedProxies, ProxyHeader: s.ProxyHeader, Admins: s.Admins, Operators: s.Operators,
		KeyFile: s.SessionKeyFile,
	}
}
