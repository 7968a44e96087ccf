package lookupd

import (
	"errors"
	"log/slog"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/program"
)

// CheckFiles says all that is wrong with the files that the settings name, which Validate
// has no complaint about. It writes nothing.
func (s *Settings) CheckFiles() error {
	log := slog.New(slog.DiscardHandler)
	_, err := s.TLSConfig(log)
	return errors.Join(err, program.CheckWritten("audit-file", s.AuditFile), access.CheckFile(s.AccessFile))
}
