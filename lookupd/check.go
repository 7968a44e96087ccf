package lookupd

import "log/slog"

// CheckFiles says all that is wrong with the files that the settings name, which Validate
// has no complaint about. It writes nothing.
func (s *Settings) CheckFiles() error {
	_, err := s.TLSConfig(slog.New(slog.DiscardHandler))
	return err
}
