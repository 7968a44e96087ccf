package millrace

// Spool keeps records on this machine until a daemon takes them. Package spool
// has one on a directory; a Writer owns it, and closes it last.
//
// Its methods are called by one goroutine at a time.
type Spool interface {
	// Put appends a record, which survives a crash of the program once Put has
	// returned nil.
	Put(record []byte) error

	// Peek returns the oldest record, valid until the next call, or nil if there is none.
	Peek() ([]byte, error)

	// Drop removes the record that Peek returned.
	Drop() error

	// Len is how many records there are.
	Len() int

	Close() error
}
