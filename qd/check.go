package qd

import (
	"errors"
	"log/slog"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/program"
)

// CheckFiles says all that is wrong with the files that the settings name, which Validate
// has no complaint about. It writes nothing, and does not ask whether another qd has the
// data path: one may be running with it.
func (s *Settings) CheckFiles() error {
	log := slog.New(slog.DiscardHandler)
	_, certificates := s.TLSConfig(log)
	_, authorities := s.authorities(log)
	_, lookups := s.lookupTLS(log)
	return errors.Join(program.CheckDirectory("data-path", s.DataPath), program.CheckWritten("audit-file", s.AuditFile),
		certificates, authorities, lookups, access.CheckFile(s.AccessFile), s.checkToken())
}

func (s *Settings) checkToken() error {
	read := token(s.LookupdTokenFile)
	if read == nil {
		return nil
	}
	_, err := read()
	return err
}
