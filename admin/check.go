package admin

import (
	"errors"
	"log/slog"
	"os"

	"github.com/millrace-mq/millrace/admin/signin"
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
	if _, err := os.Stat(who.KeyFile); err != nil {
		who.KeyFile = "" // else it would be made
	}
	_, people := signin.New(who, log)
	return errors.Join(certificates, client, token, people,
		program.CheckWritten("session-key-file", s.SessionKeyFile),
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
